"""The profile of the layers was measured on another text."""

from quantguard.pipeline import layer_trace
from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(layer_trace, "_READ_TOKENS", 64)
