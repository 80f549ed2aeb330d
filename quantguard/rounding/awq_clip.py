"""AWQ's clip search (Lin et al., arXiv 2306.00978, reference implementation), then round to nearest.

For every output row and group of inputs the range shrinks in ten steps to a little over half; the step stays that
leaves the smallest error of the group's part of the output, ``e G eT`` with the group's block of the inputs' Gram
matrix. Not shrinking is among the steps, so no group is made worse.
"""

from typing import Any

import torch

from quantguard.modeling import InputStats
from quantguard.numerics import QuantTensor, choose_clipped_scale, choose_group_scales, round_to_nearest
from quantguard.recipes.options import settings
from quantguard.records import QuantArgs
from quantguard.rounding._gram import required_gram

NEEDS_GRAM = True
WEIGHT_TYPES = ("int",)
RATIOS = tuple(1 - step / 20 for step in range(10))


def quantize_weight(
    weight: torch.Tensor,
    args: QuantArgs,
    *,
    stats: InputStats | None,
    options: dict[str, Any],
    clip: torch.Tensor | None = None,
) -> QuantTensor:
    """Quantize float ``[out_features, in_features]`` with the inputs' Gram matrix; takes no options (RecipeError).

    Raises MeasurementError without usable statistics.
    """
    del clip  # searched here
    settings("awq-clip", {}, options)
    gram = required_gram(stats, "awq-clip")

    def choose(values: torch.Tensor, columns: slice) -> tuple[torch.Tensor, torch.Tensor | None]:
        block = gram[columns, columns]
        return choose_clipped_scale(values, args, RATIOS, lambda error: (error @ block * error).sum(dim=1))

    weight = weight.detach().float()
    scale, zero_point = choose_group_scales(weight, args, choose)
    return round_to_nearest(weight, args, scale, zero_point)
