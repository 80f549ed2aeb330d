"""A pattern of layers to ignore matches every layer."""

import dataclasses

from _lab import Lab
from _spoiling import silently

AREA = "recipes"
RECIPE = "w8a8"
EXPECTED = ("memory", "accuracy", "fidelity")


def plant(lab: Lab) -> None:
    silently(lab, lambda recipe: dataclasses.replace(recipe, ignore=("*",)))
