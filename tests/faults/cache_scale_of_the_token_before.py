"""A stored key or value is read with the scale of the token before it."""

import torch

from quantguard.numerics import KVQuantizer
from tests.support.fault_lab import Lab

AREA = "KV cache"
RECIPE = "smoothquant-w8a8kv8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    restore = KVQuantizer.restore

    def shifted(self: KVQuantizer, stored: dict[str, torch.Tensor]) -> torch.Tensor:
        return restore(self, stored | {"scale": stored["scale"].roll(1, dims=-2)})

    lab.patch.setattr(KVQuantizer, "restore", shifted)
