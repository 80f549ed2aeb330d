"""Weights are multiplied by the smoothing factors and the norm is not divided."""

from quantguard.modeling.folding import multiply_columns
from quantguard.transforms import smoothquant
from tests.support.fault_lab import Lab

AREA = "transforms"
RECIPE = "smoothquant-w8a8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    lab.patch.setattr(smoothquant, "divide_input", multiply_columns)
