"""Groups are twice as long as the recipe says."""

import dataclasses

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import silently

AREA = "recipes"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    silently(
        lab, lambda recipe: dataclasses.replace(recipe, weights=dataclasses.replace(recipe.weights, group_size=256))
    )
