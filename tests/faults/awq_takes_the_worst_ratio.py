"""AWQ's search keeps the ratio with the largest error."""

from _lab import Lab

from quantguard.transforms import awq

AREA = "transforms"
RECIPE = "awq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    loss = awq.AWQ._loss
    lab.patch.setattr(awq.AWQ, "_loss", lambda self, *terms: -loss(self, *terms))
