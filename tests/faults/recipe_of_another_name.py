"""The file of one recipe has the content of another."""

import dataclasses

from quantguard.pipeline import quantizing
from quantguard.recipes import load_recipe
from tests.support.fault_lab import Lab

AREA = "recipes"
RECIPE = "gptq-w4a16"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    lab.patch.setattr(
        quantizing, "load_recipe", lambda name: dataclasses.replace(load_recipe("awq-w4a16"), name=str(name))
    )
