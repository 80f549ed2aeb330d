"""Folding scales into the weights around an activation, so that nothing is left to do as the model runs."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from quantguard.errors import RecipeError
from quantguard.modeling.block import Block, LinearGroup
from quantguard.modeling.online import has_input_transform
from quantguard.modeling.sites import InputSite, Site

SMALLEST = 1e-5
# What a norm is marked with that holds a scale of its transform: what folds such a norm cancels that scale.
_SCALED = "holds_a_scale"


def smoothing_divisor(group: LinearGroup, absmax: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return ``max|X_j|^alpha / max|W_j|^(1 - alpha)`` for each input channel j of a group, float64 ``[in_features]``.

    SmoothQuant, arXiv 2211.10438, eq. 4. absmax: float ``[in_features]``, the largest magnitudes of the inputs. Raises
    RecipeError behind a norm that holds a scale already: that scale is in both magnitudes, so that the two together are
    what this one is without the other.
    """
    require_no_scale(group.norm, f"{group.names[0]}: SmoothQuant's scale is chosen anew from what the old one left")
    weight_max = torch.stack([linear.weight.detach().abs().amax(dim=0) for linear in group.linears]).amax(dim=0)
    activations = absmax.double().clamp_min(SMALLEST)
    return (activations**alpha / weight_max.double().clamp_min(SMALLEST) ** (1 - alpha)).clamp_min(SMALLEST)


def require_no_scale(norm: nn.Module | None, reason: str) -> None:
    """Raise RecipeError, for a ``reason``, where a norm holds a scale that a transform folded into it."""
    if norm is not None and vars(norm).get(_SCALED):
        raise RecipeError(
            f"{reason}, and the scale that an earlier transform folded into the norm in front would vanish."
            ' Put the transform that rotates first and the one that scales behind it: transforms = ["hadamard",'
            ' "smoothquant"]; of two that scale take one'
        )


@torch.no_grad()
def divide(block: Block, site: InputSite, divisor: torch.Tensor) -> torch.Tensor:
    """Divide the channels of a site's activation by ``divisor``, and multiply the columns that read them.

    The division is folded into the norm in front, or into the rows of the linear that writes the activation.
    ``divisor``: float64, one a channel; of values ``[key_value_heads * head_dim]``. Returns what the readers' columns
    were multiplied by, float64 ``[in_features]``. Raises RecipeError where an online transform stands between.
    """
    _require_foldable(block, site)
    for norm in site.norms:
        vars(block.norms.of(norm))[_SCALED] = True
    for parameter in scaled_parameters(block, site):
        parameter.copy_(parameter.double() / _by_channel(divisor, parameter))
    factor = expand_to_query_heads(block, divisor) if site.absorbs == "heads" else divisor
    multiply_columns(readers(block, site), factor)
    return factor


@torch.no_grad()
def multiply_written(block: Block, site: InputSite, factor: torch.Tensor) -> None:
    """Multiply the channels of a site's activation by ``factor``, float64 ``[channels]``; who reads is the caller's."""
    for parameter in scaled_parameters(block, site):
        parameter.copy_(parameter.double() * _by_channel(factor, parameter))


def scaled_parameters(block: Block, site: InputSite) -> Iterator[nn.Parameter]:
    """Yield the parameters that a site's activation is proportional to, whose first dimension are its channels."""
    modules: list[Any] = [*map(block.norms.of, site.norms), *map(block.linear, site.writers)]
    for module in modules:
        yield module.weight
        if getattr(module, "bias", None) is not None:
            yield module.bias


def _by_channel(values: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    return values.view(-1, *(1 for _ in parameter.shape[1:]))


def readers(block: Block, site: Site) -> tuple[nn.Linear, ...]:
    """Return the linears of a block that read a site's activation, as they are now."""
    return tuple(map(block.linear, site.readers))


@torch.no_grad()
def multiply_columns(linears: Iterable[nn.Linear], factor: torch.Tensor) -> None:
    """Multiply the input channels of every weight by ``factor``, float64 ``[in_features]``."""
    for linear in linears:
        linear.weight.copy_(linear.weight.double() * factor)


def expand_to_query_heads(block: Block, values: torch.Tensor) -> torch.Tensor:
    """Repeat ``[key_value_heads * head_dim]`` for every query head: ``[heads * head_dim]``."""
    attention = block.attention
    heads = values.view(attention.num_key_value_heads, 1, attention.head_dim)
    return heads.expand(-1, attention.num_heads // attention.num_key_value_heads, -1).reshape(-1)


def by_shared_head(block: Block, values: torch.Tensor) -> torch.Tensor:
    """View ``[heads * head_dim]`` as ``[key_value_heads, heads that share one, head_dim]``."""
    attention = block.attention
    return values.view(attention.num_key_value_heads, -1, attention.head_dim)


def _require_foldable(block: Block, site: InputSite) -> None:
    """Raise RecipeError where something runs online between what would absorb a scale and what reads it."""
    group = block.groups[site.group]
    if not has_input_transform(group):
        return
    if site.norms:
        raise RecipeError(
            f"{group.names[0]}: no norm is directly in front of it that a scale could be folded into. Where a transform"
            " runs online in between, leave one of the two out of the recipe's transforms"
        )
    raise RecipeError(
        f"{group.names[0]} has an online transform in front, and no scale folds through it; leave the online part"
        " out (options.hadamard: online = false), or the scale (options.smoothquant: all_pairs = false)"
    )
