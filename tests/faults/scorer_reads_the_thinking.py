"""The scorer takes an answer out of the thinking."""

from _lab import Lab

from quantguard.scorers import _answers

AREA = "scorer"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(_answers, "after_thinking", lambda text: text)
