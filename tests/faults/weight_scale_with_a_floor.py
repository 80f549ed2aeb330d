"""No weight's scale is smaller than a hundredth."""

from quantguard.numerics import affine
from tests.support.fault_lab import Lab

AREA = "rounding"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(affine, "SMALLEST_SCALE", 1e-2)
