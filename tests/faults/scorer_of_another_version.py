"""The scorer judges by other rules than when the baseline was accepted, and says so."""

from _lab import Lab

from quantguard.scorers import boxed

AREA = "scorer"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(boxed, "VERSION", "boxed/0")
