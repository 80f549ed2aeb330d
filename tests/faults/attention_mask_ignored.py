"""Every token of the cache is attended to, whatever is behind the end of a sequence."""

import torch

from quantguard.engines.transformers import continuous
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    def all_seen(positions: torch.Tensor, num_visible: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.zeros(len(positions), num_visible, dtype=dtype)

    lab.patch.setattr(continuous, "_mask", all_seen)
