"""The scorer reads the first box and not the last."""

import re

from quantguard.scorers import _answers
from tests.support.fault_lab import Lab

AREA = "scorer"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    def first(text: str) -> str | None:
        found = re.search(r"\\boxed\{([^{}]*)\}", text)
        return None if found is None else found[1]

    lab.patch.setattr(_answers, "last_boxed", first)
