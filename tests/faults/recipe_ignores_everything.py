"""A pattern of layers to ignore matches every layer."""

import dataclasses

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import silently

AREA = "recipes"
RECIPE = "w8a8"
EXPECTED = ("memory", "accuracy", "fidelity")


def plant(lab: Lab) -> None:
    silently(lab, lambda recipe: dataclasses.replace(recipe, ignore=("*",)))
