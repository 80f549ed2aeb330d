"""The zero points of asymmetric weights are ignored."""

import dataclasses

import torch

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_weights

AREA = "packing"
RECIPE = "awq-w4a16"
EXPECTED = ("accuracy", "layerwise", "fidelity")


def plant(lab: Lab) -> None:
    spoil_weights(lab, lambda weight: dataclasses.replace(weight, zero_point=torch.zeros_like(weight.scale).int()))
