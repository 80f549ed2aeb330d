"""The profile of the layers was measured on another text."""

from _lab import Lab

from quantguard.pipeline import session

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(session, "_TRACED_TOKENS", 64)
