"""A kernel reads its inputs as if they lay row by row, whatever their strides are."""

from typing import Any

import torch
from _lab import Lab

from quantguard.kernels.cpu import int8_linear

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ()


def plant(lab: Lab) -> None:
    run = int8_linear.quantize_and_apply

    def read_on(x: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        strides = torch.empty(x.shape, device="meta").stride()
        return run(x.as_strided(x.shape, strides), *rest, **more)

    lab.patch.setattr(int8_linear, "quantize_and_apply", read_on)
