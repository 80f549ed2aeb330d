"""GPTQ (Frantar et al., arXiv 2210.17323, algorithm 1): round column by column and let later columns make up for it.

Scales are chosen from the original weight before any column is rounded (static groups), so that ``act_order`` may visit
the columns by falling importance and each still finds the scale of its own group. With ``mse`` they cover the share of
the extremes that leaves the smallest weight error, ``sum |e|^2.4``; without it the extremes, as ``nearest`` does.
``damping`` is a share of the mean diagonal of the Hessian; it grows tenfold until the factorisation succeeds.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

from quantguard.errors import MeasurementError, RecipeError
from quantguard.modeling import InputStats
from quantguard.numerics import QuantTensor, choose_clipped_scale, choose_group_scales
from quantguard.numerics.compile_cache import compiled
from quantguard.numerics.torch_threads import over_range
from quantguard.recipes.options import settings
from quantguard.records import QuantArgs
from quantguard.rounding._gram import required_gram

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
NEEDS_GRAM = True
WEIGHT_TYPES = ("int",)
DEFAULTS = {"act_order": True, "damping": 0.01, "mse": False}
BLOCK_SIZE = 128
# Outputs that a block is rounded for at a time: a block of so many stays in the nearest cache.
TILE = 64
SHRINKS = tuple(1 - step / 100 for step in range(80))
# Damping grows tenfold until the Cholesky factorisation succeeds; past this share of the mean it hides the data.
LARGEST_DAMPING = 1.0


def quantize_weight(
    weight: torch.Tensor,
    args: QuantArgs,
    *,
    stats: InputStats | None,
    options: dict[str, Any],
    clip: torch.Tensor | None = None,
) -> QuantTensor:
    """Quantize float ``[out_features, in_features]`` with the inputs' Gram matrix; the factorisation is in float64.

    Raises MeasurementError without usable statistics and RecipeError for unknown or impossible options.
    """
    chosen = settings("gptq", DEFAULTS, options)
    if not 0 < chosen["damping"] <= LARGEST_DAMPING:
        raise RecipeError(
            f"gptq: damping is {chosen['damping']}; a share of the mean above 0, at most {LARGEST_DAMPING}"
        )
    gram = required_gram(stats, "gptq")
    scale, zero_point = _static_scales(weight.detach().float(), args, mse=chosen["mse"], clip=clip)
    dead = gram.diagonal().cpu() == 0
    order = torch.arange(weight.shape[1])
    if chosen["act_order"]:
        order = torch.argsort(gram.diagonal().cpu(), descending=True, stable=True)
    work = weight.detach().cpu().t()[order].float()
    work[dead[order]] = 0.0
    factor = _inverse_factor(gram, order, dead, float(chosen["damping"]))
    groups = (torch.arange(weight.shape[1]) // (args.group_size or weight.shape[1]))[order]
    rounded = _round_inputs(work, factor, groups, scale=scale, zero_point=zero_point, args=args)
    data = torch.empty_like(rounded)
    data[order] = rounded
    return QuantTensor(data=data.t().contiguous(), scale=scale, zero_point=zero_point, args=args)


def _static_scales(
    weight: torch.Tensor, args: QuantArgs, *, mse: bool, clip: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if not mse:
        return choose_group_scales(weight if clip is None else weight * clip, args)
    return choose_group_scales(
        weight, args, lambda values, _: choose_clipped_scale(values, args, SHRINKS, lambda e: e.abs().pow(2.4).sum(1))
    )


def _inverse_factor(gram: torch.Tensor, order: torch.Tensor, dead: torch.Tensor, damping: float) -> torch.Tensor:
    """Return the upper Cholesky factor of the damped Hessian's inverse, float32, computed in float64 on one copy.

    Rows and columns are in ``order``; inputs that never fired (``dead``) stand alone.
    """
    # No sum of products is larger than the larger of its two sums of squares.
    if not torch.isfinite(gram.diagonal()).all():
        raise MeasurementError("gptq: the inputs seen in calibration hold NaN or infinity")
    backwards = order.flip(0)
    while damping <= LARGEST_DAMPING:
        hessian = gram.cpu().index_select(0, backwards).index_select(1, backwards).double()
        diagonal = hessian.diagonal()
        diagonal += dead[backwards]
        diagonal += damping * diagonal.mean()
        # SciPy's BLAS would take every core, whatever torch was told.
        with threadpool_limits(torch.get_num_threads(), user_api="blas"):
            inverse, failed = _invert_factor(hessian.numpy())
        if not failed:
            factor = torch.from_numpy(inverse).float()
            # Of a wide layer each is a gigabyte.
            del hessian, diagonal, inverse
            return factor.flip(0, 1)
        damping *= 10
    raise MeasurementError(
        f"gptq: the Hessian is not positive definite even with damping {LARGEST_DAMPING} of its mean"
    )


def _invert_factor(hessian: Array) -> tuple[Array, int]:
    """Return the inverse of the lower Cholesky factor of a matrix, which is overwritten, and LAPACK's failure or 0.

    Backwards, rows and columns, that is the upper factor of the inverse of the matrix backwards: it takes half the
    work of factoring an inverse, and no inverse of the matrix itself. LAPACK counts columns first: what is lower here
    is upper there.
    """
    upper, failed = lapack.dpotrf(hessian.T, lower=0, overwrite_a=1, clean=1)
    if not failed:
        upper, failed = lapack.dtrtri(upper, lower=0, overwrite_c=1)
    return upper.T, int(failed)


def round_one_by_one(
    work: torch.Tensor,
    factor: torch.Tensor,
    groups: torch.Tensor,
    *,
    scale: torch.Tensor,
    zero_point: torch.Tensor | None,
    args: QuantArgs,
) -> torch.Tensor:
    """Round as algorithm 1 of the paper does, without its blocks: one input after the other, in the type of ``work``.

    This is what :func:`_round_inputs` computes faster, and what tests compare it with. ``work`` is ``[in, out]``,
    ``factor`` the upper Cholesky factor of the inverse Hessian, ``groups`` the column of ``scale`` that each input has.
    Returns int8 ``[in, out]``.
    """
    work = work.clone()
    data = torch.empty(work.shape, dtype=torch.int8)
    for i, group in enumerate(groups.tolist()):
        step = scale[:, group]
        zero = torch.zeros_like(step) if zero_point is None else zero_point[:, group]
        integer = (torch.round(work[i] / step) + zero).clamp(args.minimum, args.maximum)
        error = (work[i] - (integer - zero) * step) / factor[i, i]
        # The inputs that are still to be rounded make up for this one's error.
        work[i + 1 :] -= factor[i, i + 1 :, None] * error
        data[i] = integer.to(torch.int8)
    return data


def _round_inputs(
    work: torch.Tensor,
    factor: torch.Tensor,
    groups: torch.Tensor,
    *,
    scale: torch.Tensor,
    zero_point: torch.Tensor | None,
    args: QuantArgs,
) -> torch.Tensor:
    """Round the inputs of ``work``, float32 ``[in, out]``, as :func:`round_one_by_one` does, a block of them at a time.

    Within a block of inputs the outputs go side by side through
    the processor's vectors; what follows the block is made up for in one matrix product. ``work`` is overwritten.
    """
    width, rows = work.shape
    data = torch.empty(width, rows, dtype=torch.int8)
    scales = scale.t().contiguous()
    zeros = torch.zeros_like(scales) if zero_point is None else zero_point.t().float().contiguous()
    for start in range(0, width, BLOCK_SIZE):
        stop = min(start + BLOCK_SIZE, width)
        block = factor[start:stop, start:stop].contiguous()
        terms = (work[start:stop], block, groups[start:stop], scales, zeros, data[start:stop])
        limits = (np.float32(args.minimum), np.float32(args.maximum))
        over_range(rows, _round_block, *(term.numpy() for term in terms), *limits)
        # The block holds its errors now.
        work[stop:].addmm_(factor[start:stop, stop:].t(), work[start:stop], alpha=-1)
    return data


@compiled(error_model="numpy")
def _round_block(  # noqa: PLR0917 - compiled functions take positional arguments
    work: Floats,
    factor: Floats,
    groups: npt.NDArray[np.int64],
    scales: Floats,
    zeros: Floats,
    data: npt.NDArray[np.int8],
    minimum: np.float32,
    maximum: np.float32,
    first: int,
    last: int,
) -> None:
    """Round outputs ``first`` to ``last`` of a block, float32 ``[inputs, outputs]``, to ``data``; leave its errors."""
    inputs = work.shape[0]
    # Rows of one known length, which the compiler turns into whole vectors; what lies beyond `count` is never read.
    tile = np.zeros((inputs, TILE), np.float32)
    for left in range(first, last, TILE):
        count = min(TILE, last - left)
        tile[:, :count] = work[:, left : left + count]
        for i in range(inputs):
            pivot, group, errors = factor[i, i], groups[i], tile[i]
            for o in range(count):
                value, step, zero = errors[o], scales[group, left + o], zeros[group, left + o]
                integer = min(max(np.rint(value / step) + zero, minimum), maximum)
                data[i, left + o] = np.int8(integer)
                errors[o] = (value - (integer - zero) * step) / pivot
            for later in range(i + 1, inputs):
                share, row = factor[i, later], tile[later]
                for o in range(TILE):
                    row[o] -= errors[o] * share
        work[:, left : left + count] = tile[:, :count]
