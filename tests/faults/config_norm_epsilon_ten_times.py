"""The epsilon of the norms is ten times as large in config.json."""

from typing import Any

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_config

AREA = "recipes"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    def change(config: Any) -> None:
        config.rms_norm_eps *= 10

    spoil_config(lab, change)
