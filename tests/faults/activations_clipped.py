"""Activations are clipped at the 99th percentile of their token."""

import torch

from quantguard.records import QuantArgs
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import Tensors, quantize_tokens, spoil_inputs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def clipped(x: torch.Tensor, args: QuantArgs) -> Tensors:
        limit = x.abs().kthvalue(int(0.99 * x.shape[1]), dim=1, keepdim=True).values
        return quantize_tokens(x.clamp(-limit, limit), args)

    spoil_inputs(lab, clipped)
