"""Activations are clipped at the 99th percentile of their token."""

import torch
from _lab import Lab
from _spoiling import Tensors, quantize_tokens, spoil_inputs

from quantguard.records import QuantArgs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def clipped(x: torch.Tensor, args: QuantArgs) -> Tensors:
        limit = x.abs().kthvalue(int(0.99 * x.shape[1]), dim=1, keepdim=True).values
        return quantize_tokens(x.clamp(-limit, limit), args)

    spoil_inputs(lab, clipped)
