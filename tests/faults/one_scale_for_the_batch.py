"""The scale of a token is the largest of all tokens in the call."""

import torch
from _lab import Lab
from _spoiling import Tensors, quantize_tokens, spoil_inputs

from quantguard.records import QuantArgs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def shared(x: torch.Tensor, args: QuantArgs) -> Tensors:
        _, scale = quantize_tokens(x, args)
        largest = scale.amax().expand_as(scale).contiguous()
        return (x.float() / largest).round().to(torch.int8), largest

    spoil_inputs(lab, shared)
