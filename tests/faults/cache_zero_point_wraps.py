"""The zero points of the cache are stored in too few bits."""

import torch

from quantguard.numerics import KVQuantizer
from tests.support.fault_lab import Lab

AREA = "KV cache"
RECIPE = "smoothquant-w8a8kv8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    store = KVQuantizer.store

    def wrapped(self: KVQuantizer, x: torch.Tensor) -> dict[str, torch.Tensor]:
        stored = store(self, x)
        return stored | {"zero_point": stored["zero_point"].clamp(-8, 7)}

    lab.patch.setattr(KVQuantizer, "store", wrapped)
