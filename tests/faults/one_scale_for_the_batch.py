"""The scale of a token is the largest of all tokens in the call."""

import torch

from quantguard.records import QuantArgs
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import Tensors, quantize_tokens, spoil_inputs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def shared(x: torch.Tensor, args: QuantArgs) -> Tensors:
        _, scale = quantize_tokens(x, args)
        largest = scale.amax().expand_as(scale).contiguous()
        return (x.float() / largest).round().to(torch.int8), largest

    spoil_inputs(lab, shared)
