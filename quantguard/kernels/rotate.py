"""Contract: multiply the last dimension by a Kronecker product ``A (x) B``, or by blocks of ``B`` where A is absent."""

import dataclasses

import torch

from quantguard.numerics.kronecker import kronecker_multiply
from quantguard.records import QuantArgs


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The sizes of a rotation, by which a backend says whether it can do it.

    ``width``: numbers in a row. ``left``, ``right``: the sides of the square factors, absent for the identity.
    ``activations``: how the result is quantized, where rotation and quantization are one operation.
    """

    width: int
    left: int | None
    right: int | None
    activations: QuantArgs | None = None


def unsupported(_rotation: Rotation) -> str | None:
    """Return None: the reference takes every rotation."""
    return None


def apply(x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor | None) -> torch.Tensor:
    """Return ``x (A (x) B)`` for each row: with it as a matrix X ``[a, b]``, ``A^T X B``, in float32 at least.

    x: float, shape ``[..., a * b]``, or any multiple of b where left is absent. left: ``[a, a]``. right: ``[b, b]``.
    X is multiplied by B first. Returns the type and shape of ``x``, rounded once.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    return kronecker_multiply(wide, left, right).to(x.dtype)
