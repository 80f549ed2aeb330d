"""AWQ's scales multiply the input that they should divide."""

import torch

from quantguard.modeling import Block
from quantguard.modeling.folding import divide, multiply_columns, readers
from quantguard.modeling.sites import InputSite
from quantguard.transforms import awq
from tests.support.fault_lab import Lab

AREA = "transforms"
RECIPE = "awq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def multiply(block: Block, site: InputSite, divisor: torch.Tensor) -> torch.Tensor:
        if not site.norms:
            return divide(block, site, divisor)
        divide(block, site, 1 / divisor)
        multiply_columns(readers(block, site), divisor**2)
        return divisor

    lab.patch.setattr(awq, "divide", multiply)
