"""The scorer calls an answer right that contains the right one."""

from _lab import Lab

from quantguard.scorers import boxed

AREA = "scorer"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(boxed, "same_answer", lambda answer, target: target in answer or answer in target)
