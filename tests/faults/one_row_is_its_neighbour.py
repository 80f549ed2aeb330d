"""A single row of one layer is a copy of the row before it."""

import torch

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_weights, with_data

AREA = "packing"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def copy(data: torch.Tensor) -> torch.Tensor:
        data[33] = data[32]
        return data

    spoil_weights(lab, with_data(copy), only="layers.2.mlp.gate_proj")
