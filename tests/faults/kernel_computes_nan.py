"""A kernel reads memory that nobody wrote, and gets NaN for one output."""

from typing import Any

import torch

from quantguard.kernels.cpu import int8_linear
from tests.support.fault_lab import Lab

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise", "accuracy")


def plant(lab: Lab) -> None:
    run = int8_linear.quantize_and_apply

    def unwritten(*args: Any, **more: Any) -> torch.Tensor:
        y = run(*args, **more)
        y[-1:, -1] = torch.nan
        return y

    lab.patch.setattr(int8_linear, "quantize_and_apply", unwritten)
