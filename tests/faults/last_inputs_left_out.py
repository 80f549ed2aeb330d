"""The tail of the inputs that does not fill a tile is left out of the sum."""

import torch

from quantguard.records import QuantArgs
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import Tensors, quantize_tokens, spoil_inputs

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def cut(x: torch.Tensor, args: QuantArgs) -> Tensors:
        q, scale = quantize_tokens(x, args)
        q[:, -16:] = 0
        return q, scale

    spoil_inputs(lab, cut)
