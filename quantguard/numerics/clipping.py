"""Scales that cover less than the extremes, where the many small values gain more than the few large ones lose."""

from collections.abc import Callable, Iterable

import torch

from quantguard.numerics.affine import choose_scale, quantize_columns
from quantguard.records import QuantArgs


def choose_clipped_scale(
    values: torch.Tensor,
    args: QuantArgs,
    ratios: Iterable[float],
    cost: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Choose for each row the share of its extremes whose scale costs least.

    values: float32 ``[rows, columns]``. ``cost`` takes the rounding errors, of the same shape, and returns one number a
    row. Returns float32 scale ``[rows, 1]`` and int32 zero point ``[rows, 1]``, absent when symmetric. Ties go to the
    ratio that comes first.
    """
    best_cost = torch.full((len(values), 1), torch.inf)
    scale, zero_point = choose_scale(values, args)
    for ratio in ratios:
        tried_scale, tried_zero = choose_scale(values * ratio, args)
        integers = quantize_columns(values, tried_scale, tried_zero, args).float()
        zeros = 0.0 if tried_zero is None else tried_zero
        found = cost((integers - zeros) * tried_scale - values)[:, None]
        better = found < best_cost
        best_cost = torch.where(better, found, best_cost)
        scale = torch.where(better, tried_scale, scale)
        if zero_point is not None and tried_zero is not None:
            zero_point = torch.where(better, tried_zero, zero_point)
    return scale, zero_point
