"""The scorer judges by other rules than when the baseline was accepted, and says so."""

from quantguard.scorers import boxed
from tests.support.fault_lab import Lab

AREA = "scorer"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(boxed, "VERSION", "boxed/0")
