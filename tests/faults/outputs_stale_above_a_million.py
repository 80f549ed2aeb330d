"""Where a kernel has more than a million outputs, every 4,096th is left as the call before left it."""

from typing import Any

import torch

from quantguard.kernels.cpu import int8_linear
from tests.support.fault_lab import Lab

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ()


def plant(lab: Lab) -> None:
    run = int8_linear.quantize_and_apply
    before: dict[torch.Size, torch.Tensor] = {}

    def left_stale(*args: Any, **more: Any) -> torch.Tensor:
        y = run(*args, **more)
        if y.numel() > 1_000_000:
            y.view(-1)[::4096] = before.get(y.shape, torch.zeros_like(y)).view(-1)[::4096]
            before[y.shape] = y
        return y

    lab.patch.setattr(int8_linear, "quantize_and_apply", left_stale)
