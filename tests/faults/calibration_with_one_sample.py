"""Statistics are taken on the first sample alone."""

from _lab import Lab
from _spoiling import spoil_calibration

AREA = "calibration"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_calibration(lab, lambda sequences: sequences[:1])
