"""Fixed scales come from the mean magnitude of inputs and not from the largest."""

from _lab import Lab

from quantguard.modeling import InputStats

AREA = "calibration"
RECIPE = "smoothquant-w8a8kv8-static"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(InputStats, "absmax", InputStats.mean_abs)
