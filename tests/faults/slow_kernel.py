"""The fast kernel is silently replaced by a slow loop with the same result."""

from typing import Any

import torch

from quantguard.kernels.cpu import int8_linear
from tests.support.fault_lab import Lab

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("latency",)


def plant(lab: Lab) -> None:
    run = int8_linear.quantize_and_apply

    def slow(x: torch.Tensor, *args: Any, **more: Any) -> torch.Tensor:
        return torch.cat([run(token, *args, **more) for token in x.split(1)])

    lab.patch.setattr(int8_linear, "quantize_and_apply", slow)
