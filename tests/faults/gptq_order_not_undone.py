"""GPTQ leaves the columns in the order in which it visited them."""

from typing import Any

import torch

from quantguard.rounding import gptq
from tests.support.fault_lab import Lab

AREA = "rounding"
RECIPE = "gptq-w4a16"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    visit = gptq._round_inputs
    orders: list[torch.Tensor] = []
    find = torch.argsort

    def remembered(*args: Any, **more: Any) -> torch.Tensor:
        orders.append(find(*args, **more))
        return orders[-1]

    def left(*args: Any, **more: Any) -> torch.Tensor:
        return visit(*args, **more)[orders[-1]]

    lab.patch.setattr(torch, "argsort", remembered)
    lab.patch.setattr(gptq, "_round_inputs", left)
