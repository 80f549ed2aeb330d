"""Transforms that run with the model: what cannot be folded into a weight is applied to activations as they pass."""

import torch
from torch import nn

from quantguard.errors import RecipeError
from quantguard.modeling.structure import LinearGroup


class KroneckerTransform(nn.Module):
    """Multiply the last dimension by ``A ⊗ B`` (the vendor's ``npu_kronecker_quant`` without its quantization).

    left: ``[a, a]`` or absent for the identity, right: ``[b, b]``; the last dimension is ``a * b`` long, or a multiple
    of ``b`` where ``left`` is absent. A row vector x becomes ``x (A ⊗ B)``: with x as a matrix X ``[a, b]``, ``Aᵀ X
    B``.
    """

    left: torch.Tensor | None
    right: torch.Tensor | None

    def __init__(self, left: torch.Tensor | None, right: torch.Tensor | None) -> None:
        super().__init__()
        self.register_buffer("left", left)
        self.register_buffer("right", right)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform float ``[..., a * b]``; computed in float32 at least, returned in the type of ``x``."""
        wide = x if x.dtype == torch.float64 else x.float()
        return kronecker_multiply(wide, self.left, self.right).to(x.dtype)

    def extra_repr(self) -> str:
        """Show the sizes when the model is printed."""
        return " x ".join("I" if m is None else str(len(m)) for m in (self.left, self.right))


def kronecker_multiply(x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor | None) -> torch.Tensor:
    """Return ``x (A ⊗ B)`` for rows ``[..., a * b]``; an absent factor is the identity."""
    if left is None and right is None:
        return x
    if left is None:
        assert right is not None
        blocks: torch.Tensor = x.unflatten(-1, (-1, len(right))) @ right.to(x.dtype)
        return blocks.flatten(-2)
    matrix: torch.Tensor = x.unflatten(-1, (len(left), -1))
    if right is not None:
        matrix = matrix @ right.to(x.dtype)
    return (left.to(x.dtype).t() @ matrix).flatten(-2)


class TransformedNorm(nn.Module):
    """A norm and the online transform behind it: every linear that reads the norm shares one computation."""

    def __init__(self, norm: nn.Module, transform: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.input_transform = transform

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise, then transform."""
        y: torch.Tensor = self.input_transform(self.norm(x))
        return y


class TransformedLinear(nn.Linear):
    """A float linear behind an online transform of its input."""

    def __init__(self, linear: nn.Linear, transform: nn.Module) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.weight = linear.weight
        self.bias = linear.bias
        self.input_transform = transform

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform, then multiply."""
        return super().forward(self.input_transform(x))


def attach_input_transform(group: LinearGroup, transform: nn.Module) -> None:
    """Let an online transform work on the shared input of a group, behind its norm if it has one.

    The weights are the caller's to change. Raises RecipeError where a transform is there already.
    """
    if group.norm is not None:
        if isinstance(group.norm, TransformedNorm):
            raise RecipeError(f"{group.names[0]} has an online transform already; one recipe cannot hold two for it")
        assert group.norm_name is not None
        setattr(group.layer, group.norm_name, TransformedNorm(group.norm, transform))
        return
    for part, linear in zip(group.parts, group.linears, strict=True):
        if isinstance(linear, TransformedLinear):
            raise RecipeError(f"{group.prefix}.{part} has an online transform already; one recipe cannot hold two")
        setattr(group.parent, part, TransformedLinear(linear, transform))


def has_input_transform(group: LinearGroup) -> bool:
    """Tell whether something is between this group's linears and what could be folded into."""
    return isinstance(group.norm, TransformedNorm) or any(isinstance(m, TransformedLinear) for m in group.linears)
