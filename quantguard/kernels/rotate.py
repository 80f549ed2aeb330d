"""Contract: multiply the last dimension by a Kronecker product ``A (x) B``, or by blocks of ``B`` where A is absent."""

import torch

from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Return None: the weights do not matter here."""
    return None


def apply(x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor) -> torch.Tensor:
    """Return ``x (A (x) B)`` for each row: with it as a matrix X ``[a, b]``, ``A^T X B``, in float32.

    x: float, shape ``[num_tokens, a * b]``, or any multiple of b where left is absent. left: ``[a, a]``. right:
    ``[b, b]``. X is multiplied by B first. Returns the type and shape of ``x``, rounded once.
    """
    blocks: torch.Tensor = x.float().unflatten(-1, (-1, len(right))) @ right.float()
    if left is not None:
        blocks = left.float().t() @ blocks
    return blocks.flatten(-2).to(x.dtype)
