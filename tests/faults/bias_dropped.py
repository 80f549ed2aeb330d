"""The bias is dropped."""

from _lab import Lab
from _spoiling import spoil_bias

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_bias(lab, lambda _bias: None)
