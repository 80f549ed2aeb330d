"""GPTQ passes errors on within a block of 128 inputs, and not to the blocks behind it."""

import torch

from quantguard.rounding import gptq
from tests.support.fault_lab import Lab

AREA = "rounding"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    make = gptq._inverse_factor

    def within_blocks(*terms: object) -> torch.Tensor:
        factor = make(*terms)  # type: ignore[arg-type]
        for start in range(0, len(factor), gptq.BLOCK_SIZE):
            factor[start : start + gptq.BLOCK_SIZE, start + gptq.BLOCK_SIZE :] = 0
        return factor

    lab.patch.setattr(gptq, "_inverse_factor", within_blocks)
