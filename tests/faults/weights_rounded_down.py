"""Weights are rounded down and not to the nearest."""

from quantguard.numerics import round_to_nearest
from quantguard.rounding import nearest
from tests.support.fault_lab import Lab

AREA = "rounding"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(
        nearest,
        "round_to_nearest",
        lambda weight, args, scale, zero: round_to_nearest(weight - scale / 2, args, scale, zero),
    )
