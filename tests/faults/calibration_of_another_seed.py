"""The calibration set draws other samples than when the baseline was accepted."""

import dataclasses

from quantguard.calibration import worked_problems
from tests.support.fault_lab import Lab

AREA = "calibration"
RECIPE = "gptq-w4a16"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    draw = worked_problems.token_sequences
    lab.patch.setattr(
        worked_problems,
        "token_sequences",
        lambda loaded, args: draw(loaded, dataclasses.replace(args, seed=args.seed + 1)),
    )
