"""Integer sums saturate at 16 bits."""

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_sums

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_sums(lab, lambda sums: sums.clamp(-(2**15), 2**15 - 1))
