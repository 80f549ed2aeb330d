"""Activations are quantized to 4 bits where 8 are asked for."""

import dataclasses

from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import quantize_tokens, spoil_inputs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    spoil_inputs(lab, lambda x, args: quantize_tokens(x, dataclasses.replace(args, num_bits=4)))
