"""The cache that answers are written with holds 6 bits where 8 are asked for."""

import dataclasses
from typing import Any

from quantguard.modeling import integer_cache, slots
from tests.support.fault_lab import Lab

AREA = "KV cache"
RECIPE = "smoothquant-w8a8kv8"
EXPECTED = ("fidelity", "layerwise")


def plant(lab: Lab) -> None:
    stored_by = integer_cache.kv_store

    def coarser(attention: Any) -> Any:
        store = stored_by(attention)
        if store is None:
            return None
        keys, values = (dataclasses.replace(q, args=dataclasses.replace(q.args, num_bits=6)) for q in store.quantizers)
        return dataclasses.replace(store, quantizers=(keys, values))

    lab.patch.setattr(slots, "kv_store", coarser)
