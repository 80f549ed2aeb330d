"""Statistics are taken on the first sample alone."""

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_calibration

AREA = "calibration"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_calibration(lab, lambda sequences: sequences[:1])
