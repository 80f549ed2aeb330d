"""A decoder that computes as if it were rotated and quantized, with gradients on the rotations.

No weight is rotated. An input x of a linear is replaced by ``Q(x R S) S^-1 R^-1``: the linear sees what quantization
does to it in the rotated basis, which is the rotated network with unquantized weights, at the cost of two products with
activations in the place of two with every weight. The scale of a norm, which a rotation has folded into the weights
behind it, comes after that: x is what the norm gives without it. No weight is changed for good.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from quantguard.modeling import Batch, Block, Decoder
from quantguard.modeling.descriptions import GroupName
from quantguard.modeling.rotating import plain_norm_weight, rotation_factors, transform_keys
from quantguard.modeling.simulating import simulated_cache, simulated_inputs
from quantguard.numerics import fake_quantize
from quantguard.numerics.hadamard import random_orthogonal
from quantguard.numerics.kronecker import kronecker_multiply
from quantguard.records import Recipe


@dataclasses.dataclass(slots=True, kw_only=True)
class Rotations:
    """What is learned: the rotation of the residual stream, and that of values per block; float64 leaves."""

    stream: torch.Tensor
    values: list[torch.Tensor]

    @classmethod
    def drawn(cls, decoder: Decoder, *, seed: int) -> "Rotations":
        """Start from randomised Hadamard matrices."""
        head_dim = decoder.blocks[0].attention.head_dim
        return cls(
            stream=random_orthogonal(decoder.hidden_size, seed=seed),
            values=[random_orthogonal(head_dim, seed=seed + 1 + index) for index in range(len(decoder.blocks))],
        )

    def all(self) -> list[torch.Tensor]:
        """Return the matrices, stream first."""
        return [self.stream, *self.values]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Learned logarithms of the diagonal that follows a rotation, by input; absent ones are zero."""

    qkv: torch.Tensor
    gate_up: torch.Tensor


class RotatedSimulation:
    """A decoder that computes as if its activations and cache were quantized in the rotated basis."""

    def __init__(self, decoder: Decoder, recipe: Recipe, rotations: Rotations, scales: list[Scales] | None) -> None:
        self._decoder, self._recipe, self._rotations, self._scales = decoder, recipe, rotations, scales
        first = decoder.blocks[0]
        self._dtype = torch.promote_types(decoder.dtype, torch.float32)
        self._heads = random_orthogonal(first.attention.num_heads, seed=0).to(self._dtype)
        left, right = rotation_factors(first.mlp.down.in_features)
        self._down = (left.to(self._dtype), right.to(self._dtype))
        self._keys = random_orthogonal(first.attention.head_dim, seed=0).to(self._dtype)
        # The scales of the norms that feed linears, by block and by their group.
        self._norms: list[dict[GroupName, torch.Tensor]] = []

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Simulate within this context."""
        config = self._decoder.model.config
        with contextlib.ExitStack() as stack:
            for index, block in enumerate(self._decoder.blocks):
                fed = {name: group for name, group in block.groups.items() if group.norm is not None}
                self._norms.append(
                    {name: stack.enter_context(_without_scale(group.norm)) for name, group in fed.items()}
                )
                stack.callback(self._norms.clear)
                stack.enter_context(simulated_inputs(block, self._change(index, block)))
                stack.enter_context(simulated_cache(config, block, self._recipe.kv_cache))
                if self._recipe.kv_cache is not None:
                    transform_keys(config, block, self._keys)
                    stack.callback(_clear_keys, block)
            yield

    def refresh(self) -> None:
        """Hand the present value rotations to the simulated caches; call before every step."""
        if self._recipe.kv_cache is not None:
            for block, matrix in zip(self._decoder.blocks, self._rotations.values, strict=True):
                extension: Any = block.attention.module.extension
                extension.simulated_value_basis = matrix.to(self._dtype)

    def _change(self, index: int, block: Block) -> Callable[[str, torch.Tensor], torch.Tensor]:
        group_of = {name: group.name for group in block.groups.values() for name in group.names}

        def change(name: str, x: torch.Tensor) -> torch.Tensor:
            simulated, scale = quantized(name, x), self._norms[index].get(group_of[name])
            return simulated if scale is None else simulated * scale

        def quantized(name: str, x: torch.Tensor) -> torch.Tensor:
            args = self._recipe.layer_args(name)
            if args is None or args.input_activations is None:
                return x
            left, right, scale = self._basis(index, group_of[name])
            rotated = kronecker_multiply(x, left, right)
            if scale is not None:
                rotated = rotated * scale.exp()
            rounded = fake_quantize(rotated, args.input_activations)
            if scale is not None:
                rounded = rounded * (-scale).exp()
            return kronecker_multiply(rounded, None if left is None else left.t(), right.t())

        return change

    def _basis(self, index: int, group: GroupName) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor | None]:
        if group == "o":
            return self._heads, self._rotations.values[index].to(self._dtype), None
        if group == "down":
            return *self._down, None
        scales = self._scales[index] if self._scales else None
        scale = None if scales is None else (scales.qkv if group == "qkv" else scales.gate_up)
        return None, self._rotations.stream.to(self._dtype), scale


@contextlib.contextmanager
def _without_scale(norm: nn.Module | None) -> Iterator[torch.Tensor]:
    """Let a norm give what it does without its scale; the scale comes along."""
    weight = plain_norm_weight(norm)
    scale = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(1.0)
    try:
        yield scale
    finally:
        with torch.no_grad():
            weight.copy_(scale)


def _clear_keys(block: Block) -> None:
    extension: Any = block.attention.module.extension
    extension.key_transform = extension.query_transform = None


def next_token_logits(decoder: Decoder, batch: Batch) -> torch.Tensor:
    """Run embedded text through the whole decoder; return float32 logits ``[sequences, tokens, vocabulary]``."""
    for block in decoder.blocks:
        batch = dataclasses.replace(batch, hidden=batch.through(block.layer))
    logits: torch.Tensor = decoder.head(decoder.norm(batch.hidden))
    return logits.float() * decoder.logit_scale
