"""A single row of one layer has lost its scale."""

import torch

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_weights, with_scale

AREA = "packing"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def lose(scale: torch.Tensor) -> torch.Tensor:
        scale[17] = 1.0
        return scale

    spoil_weights(lab, with_scale(lose), only="layers.1.self_attn.o_proj")
