"""The answer to an item is filed under the next one."""

import dataclasses

from quantguard.records import Generation
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_answers

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    spoil_answers(lab, lambda answers: [_filed(a, b) for a, b in zip(answers, [*answers[1:], answers[0]], strict=True)])


def _filed(answer: Generation, other: Generation) -> Generation:
    return dataclasses.replace(answer, sample_id=other.sample_id)
