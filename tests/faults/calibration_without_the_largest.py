"""Fixed scales come from the mean magnitude of inputs and not from the largest."""

from quantguard.modeling import InputStats
from tests.support.fault_lab import Lab

AREA = "calibration"
RECIPE = "smoothquant-w8a8kv8-static"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(InputStats, "absmax", InputStats.mean_abs)
