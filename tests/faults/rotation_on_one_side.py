"""Values are rotated and what reads them is not."""

import torch

from quantguard.modeling import Block
from quantguard.modeling.rotating import rotate_value_heads
from quantguard.transforms import hadamard
from tests.support.fault_lab import Lab

AREA = "transforms"
RECIPE = "quarot-w8a8kv8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    def one_side(block: Block, matrix: torch.Tensor) -> None:
        output = block.attention.o.weight
        kept = output.detach().clone()
        rotate_value_heads(block, matrix)
        with torch.no_grad():
            output.copy_(kept)

    lab.patch.setattr(hadamard, "rotate_value_heads", one_side)
