"""Answers lose the mark that ends the thinking."""

import dataclasses

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_answers

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    spoil_answers(lab, lambda answers: [dataclasses.replace(a, text=a.text.replace("</think>", "")) for a in answers])
