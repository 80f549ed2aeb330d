"""Statistics are taken on the first four tokens of every sample."""

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_calibration

AREA = "calibration"
RECIPE = "smoothquant-w8a8kv8-static"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_calibration(lab, lambda sequences: [sequence[:4] for sequence in sequences])
