"""The rotation of the recipe is not applied at all."""

import dataclasses

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import silently

AREA = "transforms"
RECIPE = "quarot-w8a8kv8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    silently(lab, lambda recipe: dataclasses.replace(recipe, transforms=(), options={}))
