"""The scale of a single row of one layer is a tenth too large."""

import torch

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_weights, with_scale

AREA = "packing"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def grow(scale: torch.Tensor) -> torch.Tensor:
        scale[5] *= 1.1
        return scale

    spoil_weights(lab, with_scale(grow), only="layers.3.mlp.up_proj")
