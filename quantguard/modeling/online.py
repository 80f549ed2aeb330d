"""Transforms that run with the model: what cannot be folded into a weight is applied to activations as they pass."""

from collections.abc import Callable

import torch
from torch import nn

from quantguard.errors import RecipeError
from quantguard.kernels import choose_backend, resolve, rotate
from quantguard.modeling.block import LinearGroup
from quantguard.records import RotationArgs


class KroneckerTransform(nn.Module):
    """Multiply the last dimension by ``A ⊗ B``.

    left: ``[a, a]`` or absent for the identity, right: ``[b, b]``; the last dimension is ``a * b`` long, or a multiple
    of ``b`` where ``left`` is absent. A row vector x becomes ``x (A ⊗ B)``: with x as a matrix X ``[a, b]``, ``Aᵀ X
    B``. Before the linears behind it are quantized it runs on the reference body of ``rotate``, and ``kernels`` is
    empty; then on the backend that ``kernels`` names, unless they rotate and quantize in one operation themselves.
    """

    left: torch.Tensor | None
    right: torch.Tensor | None

    def __init__(self, left: torch.Tensor | None, right: torch.Tensor | None) -> None:
        super().__init__()
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self.kernels: dict[str, str] = {}
        self._rotate: Callable[..., torch.Tensor] = rotate.apply

    def rotation(self, width: int) -> RotationArgs:
        """Return the sizes of the transform on rows of ``width``."""
        left, right = (None if factor is None else len(factor) for factor in (self.left, self.right))
        return RotationArgs(width=width, left=left, right=right)

    def choose_kernels(self, width: int, *, backend: str, device_type: str) -> None:
        """Run on a backend from now on; raise KernelError where it cannot rotate rows of ``width``."""
        chosen = choose_backend("rotate", self.rotation(width), requested=backend, device_type=device_type)
        self.kernels, self._rotate = {"rotate": chosen}, resolve("rotate", chosen).apply

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform float ``[..., a * b]``; returned in the type of ``x``."""
        return self._rotate(x, self.left, self.right)

    def extra_repr(self) -> str:
        """Show the sizes when the model is printed."""
        return " x ".join("I" if m is None else str(len(m)) for m in (self.left, self.right))


class TransformedNorm(nn.Module):
    """A norm and the online transform behind it: every linear that reads the norm shares one computation.

    Where all of these rotate and quantize in one operation, ``leaves_transform`` is set and the norm does without.
    """

    def __init__(self, norm: nn.Module, transform: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.input_transform = transform
        self.leaves_transform = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise, then transform."""
        y: torch.Tensor = self.norm(x)
        if self.leaves_transform:
            return y
        transformed: torch.Tensor = self.input_transform(y)
        return transformed


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
