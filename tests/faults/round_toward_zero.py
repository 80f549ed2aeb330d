"""Activations are rounded toward zero and not to the nearest even."""

import torch

from quantguard.records import QuantArgs
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import Tensors, quantize_tokens, spoil_inputs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def truncated(x: torch.Tensor, args: QuantArgs) -> Tensors:
        _, scale = quantize_tokens(x, args)
        return (x.float() / scale).trunc().to(torch.int8), scale

    spoil_inputs(lab, truncated)
