"""Round to nearest: every weight to the closest integer of its scale, half to even."""

from typing import Any

import torch

from quantguard.modeling import InputStats
from quantguard.numerics import QuantTensor, choose_group_scales, round_to_nearest
from quantguard.recipes.options import settings
from quantguard.records import QuantArgs

NEEDS_GRAM = False
WEIGHT_TYPES = ("int",)


def quantize_weight(
    weight: torch.Tensor,
    args: QuantArgs,
    *,
    stats: InputStats | None,
    options: dict[str, Any],
    clip: torch.Tensor | None = None,
) -> QuantTensor:
    """Quantize float ``[out_features, in_features]``; takes neither statistics nor options (RecipeError)."""
    del stats
    settings("nearest", {}, options)
    weight = weight.detach().float()
    scale, zero_point = choose_group_scales(weight if clip is None else weight * clip, args)
    return round_to_nearest(weight, args, scale, zero_point)
