"""Weights are rounded to 4 bits where the recipe says 8."""

import dataclasses
from typing import Any

import torch

from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs
from quantguard.rounding import nearest
from tests.support.fault_lab import Lab

AREA = "recipes"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def rounded(weight: torch.Tensor, args: QuantArgs, **more: Any) -> QuantTensor:
        four = quantize_weight(weight, dataclasses.replace(args, num_bits=4), **more)
        return dataclasses.replace(four, args=args)

    quantize_weight = nearest.quantize_weight
    lab.patch.setattr(nearest, "quantize_weight", rounded)
