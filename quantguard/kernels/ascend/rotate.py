"""Rotation by two matrix products in the type of the activations: the vendor has no operation for it alone."""

import torch

from quantguard.kernels.rotate import unsupported

__all__ = ["apply", "unsupported"]
# Each of two products rounds its result to the type of the activations, and so do the factors.
TOLERANCE = {torch.float16: 2**-9, torch.bfloat16: 2**-6}


def apply(x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor) -> torch.Tensor:
    """Rotate as the contract says, the factors rounded to the type of ``x``."""
    blocks: torch.Tensor = x.unflatten(-1, (-1, len(right))) @ right.to(x.dtype)
    if left is not None:
        blocks = left.to(x.dtype).t() @ blocks
    return blocks.flatten(-2)
