"""Rotation by two matrix products in the type of the activations: the vendor has no operation for it alone."""

import torch

from quantguard.kernels.rotate import unsupported
from quantguard.numerics.kronecker import kronecker_multiply

__all__ = ["apply", "unsupported"]
# Each of two products rounds its result to the type of the activations, and so do the factors.
TOLERANCE = {torch.float16: 2**-9, torch.bfloat16: 2**-6}


def apply(x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor | None) -> torch.Tensor:
    """Rotate as the contract says, the factors rounded to the type of ``x``."""
    return kronecker_multiply(x, left, right)
