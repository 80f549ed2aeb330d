"""Statistics are taken on the first four tokens of every sample."""

from _lab import Lab
from _spoiling import spoil_calibration

AREA = "calibration"
RECIPE = "smoothquant-w8a8kv8-static"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_calibration(lab, lambda sequences: [sequence[:4] for sequence in sequences])
