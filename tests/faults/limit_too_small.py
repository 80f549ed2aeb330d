"""The benchmark lets answers have 64 tokens where 224 were accepted."""

import dataclasses

from quantguard.benchmarks import word_problems
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    load = word_problems.load
    lab.patch.setattr(word_problems, "load", lambda: dataclasses.replace(load(), max_new_tokens=64))
