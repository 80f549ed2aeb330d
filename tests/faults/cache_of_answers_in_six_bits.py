"""The cache that answers are written with holds 6 bits where 8 are asked for."""

import dataclasses
from typing import Any

from quantguard.modeling import attention as attention_module
from quantguard.modeling import slots
from tests.support.fault_lab import Lab

AREA = "KV cache"
RECIPE = "smoothquant-w8a8kv8"
EXPECTED = ("fidelity", "layerwise")


def plant(lab: Lab) -> None:
    quantizers = attention_module.kv_quantizers

    def coarser(attention: Any) -> Any:
        pair = quantizers(attention)
        return pair and tuple(dataclasses.replace(one, args=dataclasses.replace(one.args, num_bits=6)) for one in pair)

    lab.patch.setattr(slots, "kv_quantizers", coarser)
