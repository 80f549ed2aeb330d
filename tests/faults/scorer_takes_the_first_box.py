"""The scorer reads the first box and not the last."""

import re

from _lab import Lab

from quantguard.scorers import _answers

AREA = "scorer"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    def first(text: str) -> str | None:
        found = re.search(r"\\boxed\{([^{}]*)\}", text)
        return None if found is None else found[1]

    lab.patch.setattr(_answers, "last_boxed", first)
