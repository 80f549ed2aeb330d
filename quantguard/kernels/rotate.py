"""Contract: multiply the last dimension by a Kronecker product ``A (x) B``, or by blocks of ``B`` where A is absent."""

import torch

from quantguard.numerics.kronecker import kronecker_multiply
from quantguard.records import RotationArgs


def unsupported(_rotation: RotationArgs) -> str | None:
    """Return None: the reference takes every rotation."""
    return None


def apply(x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor | None) -> torch.Tensor:
    """Return ``x (A (x) B)`` for each row: with it as a matrix X ``[a, b]``, ``A^T X B``, in float32 at least.

    x: float, shape ``[..., a * b]``, or any multiple of b where left is absent. left: ``[a, a]``. right: ``[b, b]``.
    X is multiplied by B first. Returns the type and shape of ``x``, rounded once.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    return kronecker_multiply(wide, left, right).to(x.dtype)
