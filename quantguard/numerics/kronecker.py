"""Multiplication by a Kronecker product, factor by factor."""

import torch


def kronecker_multiply(x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor | None) -> torch.Tensor:
    """Return ``x (A ⊗ B)`` for rows ``[..., a * b]``; an absent factor is the identity.

    A row vector as a matrix X ``[a, b]`` becomes ``Aᵀ X B``; X is multiplied by B first. Where ``left`` is absent, a
    row may be any multiple of b long: B works on its blocks. Computed in the type of ``x``.
    """
    if left is None and right is None:
        return x
    if left is None:
        assert right is not None
        if x.shape[-1] == len(right):
            return x @ right.to(x.dtype)
        blocks: torch.Tensor = x.unflatten(-1, (-1, len(right))) @ right.to(x.dtype)
        return blocks.flatten(-2)
    matrix: torch.Tensor = x.unflatten(-1, (len(left), -1))
    if right is not None:
        matrix = matrix @ right.to(x.dtype)
    return (left.to(x.dtype).t() @ matrix).flatten(-2)
