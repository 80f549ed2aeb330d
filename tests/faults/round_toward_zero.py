"""Activations are rounded toward zero and not to the nearest even."""

import torch
from _lab import Lab
from _spoiling import Tensors, quantize_tokens, spoil_inputs

from quantguard.records import QuantArgs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def truncated(x: torch.Tensor, args: QuantArgs) -> Tensors:
        _, scale = quantize_tokens(x, args)
        return (x.float() / scale).trunc().to(torch.int8), scale

    spoil_inputs(lab, truncated)
