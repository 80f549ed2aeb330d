"""A pattern of layers to ignore matches one layer too many."""

import dataclasses

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import silently

AREA = "recipes"
RECIPE = "w8a8"
EXPECTED = ("memory",)


def plant(lab: Lab) -> None:
    silently(lab, lambda recipe: dataclasses.replace(recipe, ignore=("lm_head", "model.layers.3.*")))
