"""The scorer calls every answer right."""

from quantguard.scorers import boxed
from tests.support.fault_lab import Lab

AREA = "scorer"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(boxed, "same_answer", lambda _answer, _target: True)
