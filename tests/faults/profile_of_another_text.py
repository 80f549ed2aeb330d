"""The profile of the layers was measured on another text."""

from quantguard.measures import layers
from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(layers, "_READ_TOKENS", 64)
