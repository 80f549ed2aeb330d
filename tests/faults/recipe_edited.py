"""The recipe's file says 4 bits where 8 were accepted."""

import dataclasses

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import edit_recipe

AREA = "recipes"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    edit_recipe(
        lab, lambda recipe: dataclasses.replace(recipe, weights=dataclasses.replace(recipe.weights, num_bits=4))
    )
