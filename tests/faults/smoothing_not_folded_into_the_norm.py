"""Weights are multiplied by the smoothing factors and the norm is not divided."""

import torch

from quantguard.modeling import Block
from quantguard.modeling.folding import multiply_columns, readers
from quantguard.modeling.sites import InputSite
from quantguard.transforms import smoothquant
from tests.support.fault_lab import Lab

AREA = "transforms"
RECIPE = "smoothquant-w8a8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    def columns_alone(block: Block, site: InputSite, divisor: torch.Tensor) -> torch.Tensor:
        multiply_columns(readers(block, site), divisor)
        return divisor

    lab.patch.setattr(smoothquant, "divide", columns_alone)
