"""Smoothing moves the outliers of weights into activations."""

from quantguard.modeling.folding import smoothing_divisor
from quantguard.transforms import smoothquant
from tests.support.fault_lab import Lab

AREA = "transforms"
RECIPE = "smoothquant-w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(smoothquant, "smoothing_divisor", lambda *terms: 1 / smoothing_divisor(*terms))
