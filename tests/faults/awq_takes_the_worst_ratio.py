"""AWQ's search keeps the ratio with the largest error."""

from quantguard.transforms import awq
from tests.support.fault_lab import Lab

AREA = "transforms"
RECIPE = "awq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    loss = awq.AWQ._loss
    lab.patch.setattr(awq.AWQ, "_loss", lambda self, *terms: -loss(self, *terms))
