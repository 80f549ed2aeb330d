"""No token's scale is smaller than a hundredth."""

import torch
from _lab import Lab
from _spoiling import Tensors, quantize_tokens, spoil_inputs

from quantguard.records import QuantArgs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ()


def plant(lab: Lab) -> None:
    def with_a_floor(x: torch.Tensor, args: QuantArgs) -> Tensors:
        _, scale = quantize_tokens(x, args)
        scale = scale.clamp_min(1e-2)
        return torch.round(x.float() / scale).clamp(args.minimum, args.maximum).to(torch.int8), scale

    spoil_inputs(lab, with_a_floor)
