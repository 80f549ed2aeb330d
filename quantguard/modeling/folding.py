"""Folding scales into the weights around an activation, so that nothing is left to do as the model runs."""

import torch
from torch import nn

from quantguard.errors import RecipeError
from quantguard.modeling.online import has_input_transform
from quantguard.modeling.structure import Block, LinearGroup

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
def divide_input(group: LinearGroup, divisor: torch.Tensor) -> None:
    """Divide the channels of a group's input by ``divisor``, float64 ``[in_features]``, and multiply its weights.

    The division is folded into the norm in front. Raises RecipeError where an online transform stands between.
    """
    if has_input_transform(group) or group.norm is None:
        raise RecipeError(
            f"{group.names[0]}: no norm is directly in front of it that a scale could be folded into. Where a transform"
            " runs online in between, leave one of the two out of the recipe's transforms"
        )
    vars(group.norm)[_SCALED] = True
    for name in ("weight", "bias"):
        parameter = getattr(group.norm, name, None)
        if parameter is not None:
            parameter.copy_(parameter.double() / divisor)
    multiply_columns(group, divisor)


@torch.no_grad()
def multiply_columns(group: LinearGroup, factor: torch.Tensor) -> None:
    """Multiply the input channels of every weight of a group by ``factor``, float64 ``[in_features]``."""
    for linear in group.linears:
        linear.weight.copy_(linear.weight.double() * factor)


@torch.no_grad()
def divide_rows(linear: nn.Linear, divisor: torch.Tensor) -> None:
    """Divide the output channels of a linear, weight and bias, by ``divisor``, float64 ``[out_features]``."""
    linear.weight.copy_(linear.weight.double() / divisor[:, None])
    if linear.bias is not None:
        linear.bias.copy_(linear.bias.double() / divisor)


def divide_mlp_input(block: Block, divisor: torch.Tensor) -> None:
    """Divide the input of down_proj by folding into the rows of up_proj; the gate's activation is untouched."""
    down = _free(block.groups[3])
    divide_rows(block.groups[2].linears[1], divisor)
    multiply_columns(down, divisor)


def divide_value_heads(block: Block, divisor: torch.Tensor) -> None:
    """Divide the values of every key-value head, float64 ``[key_value_heads * head_dim]``, and multiply o_proj.

    Query heads that share a key-value head share its divisor.
    """
    output = _free(block.groups[1])
    divide_rows(block.groups[0].linears[2], divisor)
    multiply_columns(output, expand_to_query_heads(block, divisor))


def expand_to_query_heads(block: Block, values: torch.Tensor) -> torch.Tensor:
    """Repeat ``[key_value_heads * head_dim]`` for every query head: ``[heads * head_dim]``."""
    heads = values.view(block.num_key_value_heads, 1, block.head_dim)
    return heads.expand(-1, block.num_heads // block.num_key_value_heads, -1).reshape(-1)


def _free(group: LinearGroup) -> LinearGroup:
    if has_input_transform(group):
        raise RecipeError(
            f"{group.names[0]} has an online transform in front, and no scale folds through it; leave the online part"
            " out (options.hadamard: online = false), or the scale (options.smoothquant: all_pairs = false)"
        )
    return group
