"""The benchmark lets answers have 64 tokens where 224 were accepted."""

import dataclasses

from _lab import Lab

from quantguard.benchmarks import word_problems

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    load = word_problems.load
    lab.patch.setattr(word_problems, "load", lambda: dataclasses.replace(load(), max_new_tokens=64))
