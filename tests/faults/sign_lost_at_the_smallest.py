"""The smallest 4-bit integer, -8, is unpacked as +8 cut to 7."""

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_weights, with_data

AREA = "packing"
RECIPE = "awq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_weights(lab, with_data(lambda data: data.masked_fill_(data == -8, 7)))
