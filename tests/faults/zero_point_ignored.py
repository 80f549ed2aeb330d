"""The zero points of asymmetric weights are ignored."""

import dataclasses

import torch
from _lab import Lab
from _spoiling import spoil_weights

AREA = "packing"
RECIPE = "awq-w4a16"
EXPECTED = ("accuracy", "layerwise", "fidelity")


def plant(lab: Lab) -> None:
    spoil_weights(lab, lambda weight: dataclasses.replace(weight, zero_point=torch.zeros_like(weight.scale).int()))
