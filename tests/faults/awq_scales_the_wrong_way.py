"""AWQ's scales multiply the input that they should divide."""

import torch

from quantguard.modeling import LinearGroup
from quantguard.modeling.folding import divide_input, multiply_columns
from quantguard.transforms import awq
from tests.support.fault_lab import Lab

AREA = "transforms"
RECIPE = "awq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def multiply(group: LinearGroup, divisor: torch.Tensor) -> None:
        divide_input(group, 1 / divisor)
        multiply_columns(group, divisor**2)

    lab.patch.setattr(awq, "divide_input", multiply)
