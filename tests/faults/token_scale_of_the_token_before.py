"""A token is scaled back by the scale of the token before it."""

import torch

from quantguard.records import QuantArgs
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import Tensors, quantize_tokens, spoil_inputs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def shifted(x: torch.Tensor, args: QuantArgs) -> Tensors:
        q, scale = quantize_tokens(x, args)
        return q, scale.roll(1, dims=0)

    spoil_inputs(lab, shifted)
