"""Round to nearest: every weight to the closest integer of its scale, half to even."""

from typing import Any

import torch

from quantguard.modeling import InputStats
from quantguard.numerics import QuantTensor, choose_scale, group_slices, quantize_columns
from quantguard.recipes.options import settings
from quantguard.records import QuantArgs

NEEDS_GRAM = False


def quantize_weight(
    weight: torch.Tensor, args: QuantArgs, *, stats: InputStats | None, options: dict[str, Any]
) -> QuantTensor:
    """Quantize float ``[out_features, in_features]``; takes neither statistics nor options (RecipeError)."""
    del stats
    settings("nearest", {}, options)
    data, scales, zero_points = [], [], []
    for columns in group_slices(weight.shape[1], args):
        scale, zero_point = choose_scale(weight[:, columns], args)
        data.append(quantize_columns(weight[:, columns], scale, zero_point, args))
        scales.append(scale)
        zero_points.append(zero_point)
    joined = None if args.symmetric else torch.cat([z for z in zero_points if z is not None], dim=1)
    return QuantTensor(data=torch.cat(data, dim=1), scale=torch.cat(scales, dim=1), zero_point=joined, args=args)
