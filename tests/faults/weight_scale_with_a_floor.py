"""No weight's scale is smaller than a hundredth."""

from _lab import Lab

from quantguard.numerics import affine

AREA = "rounding"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(affine, "SMALLEST_SCALE", 1e-2)
