"""The scorer takes an answer out of the thinking."""

from quantguard.scorers import _answers
from tests.support.fault_lab import Lab

AREA = "scorer"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(_answers, "after_thinking", lambda text: text)
