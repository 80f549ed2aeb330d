"""The scorer takes a number and its negative for the same."""

from quantguard.scorers import boxed
from tests.support.fault_lab import Lab

AREA = "scorer"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    same = boxed.same_answer
    lab.patch.setattr(boxed, "same_answer", lambda answer, target: same(answer.lstrip("-"), target.lstrip("-")))
