"""The last group of inputs is left out of down_proj."""

import torch

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_weights, with_data

AREA = "packing"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def drop(data: torch.Tensor) -> torch.Tensor:
        data[:, -128:] = 0
        return data

    spoil_weights(lab, with_data(drop), only="down_proj")
