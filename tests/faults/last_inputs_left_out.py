"""The tail of the inputs that does not fill a tile is left out of the sum."""

import torch
from _lab import Lab
from _spoiling import Tensors, quantize_tokens, spoil_inputs

from quantguard.records import QuantArgs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def cut(x: torch.Tensor, args: QuantArgs) -> Tensors:
        q, scale = quantize_tokens(x, args)
        q[:, -16:] = 0
        return q, scale

    spoil_inputs(lab, cut)
