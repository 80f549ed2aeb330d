"""Folding linear maps of activations into the weights around them, in float64.

Throughout, a map is a matrix Q ``[b, b]`` that row vectors are multiplied with on the right, block by block where the
activation is a multiple of b wide. ``dual`` is the inverse transpose, which is what the weights that read the
activation are multiplied with; an orthogonal matrix is its own.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from quantguard.errors import RecipeError
from quantguard.modeling.attention import extend_attention
from quantguard.modeling.block import Block, LinearGroup
from quantguard.modeling.folding import readers, require_no_scale
from quantguard.modeling.online import KroneckerTransform, attach_input_transform
from quantguard.modeling.sites import DOWN_INPUT, OUTPUT_INPUT, STREAM, InputSite
from quantguard.modeling.structure import Decoder
from quantguard.numerics.hadamard import hadamard_factors, has_hadamard, random_orthogonal
from quantguard.numerics.kronecker import kronecker_multiply


@torch.no_grad()
def fold_norm(norm: nn.Module | None, linears: Iterable[nn.Linear]) -> None:
    """Move the scale of an RMSNorm into the linears that read it, so that a rotation can pass through the norm.

    Raises RecipeError for a norm with a bias, behind which something else runs, or that holds a transform's scale.
    """
    require_no_scale(norm, "a rotation folds the norm into the linears behind it")
    weight = plain_norm_weight(norm)
    for linear in linears:
        linear.weight.copy_(linear.weight.double() * weight.double())
    weight.fill_(1.0)


def plain_norm_weight(norm: nn.Module | None) -> torch.Tensor:
    """Return the scale of an RMSNorm; raise RecipeError for a norm that no rotation passes through."""
    weight = getattr(norm, "weight", None)
    if not isinstance(weight, torch.Tensor) or getattr(norm, "bias", None) is not None:
        raise RecipeError(
            f"a rotation passes through a plain RMSNorm only, not through {type(norm).__name__};"
            " put transforms that rotate the residual stream first"
        )
    return weight


def fold_norms(block: Block) -> None:
    """Fold both norms of a block."""
    for group in block.groups.values():
        if group.norm is not None:
            fold_norm(group.norm, group.linears)


def rotate_ends(decoder: Decoder, rotation: torch.Tensor) -> None:
    """Fold the final norm, and rotate what the embedding writes and the head reads; the two must be untied."""
    fold_norm(decoder.norm, (decoder.head,))
    for end in STREAM.ends:
        weight = getattr(decoder, end).weight
        _replace(weight, kronecker_multiply(weight.double(), None, rotation))


def rotate_stream(block: Block, rotation: torch.Tensor) -> None:
    """Rotate the residual stream of a block: what q, k, v, gate and up read, and what o and down write."""
    map_input(readers(block, STREAM), None, rotation)
    for role in STREAM.writers:
        map_output(block.linear(role), rotation)


def rotate_value_heads(block: Block, matrix: torch.Tensor, dual: torch.Tensor | None = None) -> None:
    """Map the values of every head, in the rows of v and, by the dual, in the columns of o.

    ``matrix`` is ``[head_dim, head_dim]``, or ``[key_value_heads, head_dim, head_dim]`` with one a head.
    """
    duals = matrix if dual is None else dual
    num_sharing = block.attention.num_heads // block.attention.num_key_value_heads
    per_query_head = duals.repeat_interleave(num_sharing, 0) if duals.ndim == 3 else duals
    for values in map(block.linear, OUTPUT_INPUT.writers):
        _replace(values.weight, _by_head(values.weight.double().t(), matrix).t())
        if values.bias is not None:
            _replace(values.bias, _by_head(values.bias.double()[None], matrix)[0])
    for output in readers(block, OUTPUT_INPUT):
        _replace(output.weight, _by_head(output.weight.double(), per_query_head))


def _by_head(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Multiply ``[rows, heads * head_dim]`` head by head."""
    heads = rows.unflatten(-1, (-1, matrix.shape[-1]))
    return torch.einsum("rhd,hde->rhe", heads, matrix.expand(heads.shape[1], -1, -1)).flatten(-2)


def map_online(block: Block, site: InputSite, left: torch.Tensor | None, right: torch.Tensor | None) -> None:
    """Multiply a site's activation by the orthogonal ``left ⊗ right`` as the model runs, and fold the inverse."""
    map_input(readers(block, site), left, right)
    attach_transform(block.groups[site.group], left, right)


def rotate_output_input(block: Block) -> None:
    """Put a Hadamard transform across heads before o, online."""
    map_online(block, OUTPUT_INPUT, random_orthogonal(block.attention.num_heads, seed=0), None)


def rotate_down_input(block: Block, *, block_size: int = 0) -> None:
    """Put a Hadamard transform before down, online; in blocks where ``block_size`` says so."""
    if block_size:
        map_online(block, DOWN_INPUT, None, torch.kron(*hadamard_factors(block_size)))
    else:
        map_online(block, DOWN_INPUT, *rotation_factors(block.mlp.down.in_features))


def rotation_factors(width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two orthogonal factors of a rotation: a Hadamard matrix's where the width has one, else random ones."""
    if has_hadamard(width):
        return hadamard_factors(width)
    a = next(a for a in range(int(width**0.5), 0, -1) if width % a == 0)
    return random_orthogonal(a, seed=0), random_orthogonal(width // a, seed=1)


def transform_keys(config: Any, block: Block, matrix: torch.Tensor, dual: torch.Tensor | None = None) -> None:
    """Map keys after RoPE, online, and queries by the dual, so that every score stays."""
    extension = extend_attention(config, block)
    if extension.key_transform is not None:
        raise RecipeError(f"{block.name}: keys have an online transform already; one recipe cannot hold two")
    like = block.attention.q.weight
    stored = torch.promote_types(like.dtype, torch.float32)
    extension.key_transform = matrix.to(like.device, stored)
    extension.query_transform = (matrix if dual is None else dual).to(like.device, stored)


def attach_transform(group: LinearGroup, left: torch.Tensor | None, right: torch.Tensor | None) -> None:
    """Run the Kronecker product of the factors on a group's input, online; the weights are the caller's."""
    like = next(iter(group.linears)).weight
    stored = torch.promote_types(like.dtype, torch.float32)
    factors = [None if factor is None else factor.to(like.device, stored) for factor in (left, right)]
    attach_input_transform(group, KroneckerTransform(*factors))


def map_input(linears: Iterable[nn.Linear], left: torch.Tensor | None, right: torch.Tensor | None) -> None:
    """Multiply weights from the input side by the dual of what their input is mapped by."""
    for linear in linears:
        _replace(linear.weight, kronecker_multiply(linear.weight.double(), left, right))


def map_output(linear: nn.Linear, matrix: torch.Tensor) -> None:
    """Map the output of a linear: its weight and its bias."""
    _replace(linear.weight, kronecker_multiply(linear.weight.double().t(), None, matrix).t())
    if linear.bias is not None:
        _replace(linear.bias, kronecker_multiply(linear.bias.double()[None], None, matrix)[0])


@torch.no_grad()
def _replace(parameter: torch.Tensor, value: torch.Tensor) -> None:
    parameter.copy_(value)
