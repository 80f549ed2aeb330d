"""The base of the rotary embedding is half a per cent larger in config.json."""

from typing import Any

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_config

AREA = "recipes"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    def change(config: Any) -> None:
        config.rope_parameters["rope_theta"] = 10050.0

    spoil_config(lab, change)
