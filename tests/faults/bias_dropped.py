"""The bias is dropped."""

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_bias

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_bias(lab, lambda _bias: None)
