"""The cache that answers are written with holds floats where 8 bits are asked for."""

from typing import Any

import torch

from quantguard.modeling.slots import SlotLayer
from tests.support.fault_lab import Lab

AREA = "KV cache"
RECIPE = "smoothquant-w8a8kv8"
EXPECTED = ("fidelity", "layerwise")


def plant(lab: Lab) -> None:
    def store(_self: SlotLayer, keys: torch.Tensor, values: torch.Tensor) -> Any:
        return {"data": keys}, {"data": values}

    lab.patch.setattr(SlotLayer, "_store", store)
    lab.patch.setattr(SlotLayer, "_restore", lambda _self, stored, _index, _dtype: stored["data"])
