"""Scales come from the mean magnitude of a row and not from the largest."""

import torch

from quantguard.records import QuantArgs
from quantguard.rounding import nearest
from tests.support.fault_lab import Lab

AREA = "rounding"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    def from_the_mean(weight: torch.Tensor, args: QuantArgs, *_choose: object) -> tuple[torch.Tensor, None]:
        return weight.abs().mean(dim=1, keepdim=True) / args.maximum, None

    lab.patch.setattr(nearest, "choose_group_scales", from_the_mean)
