"""The scorer calls every answer right."""

from _lab import Lab

from quantguard.scorers import boxed

AREA = "scorer"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(boxed, "same_answer", lambda _answer, _target: True)
