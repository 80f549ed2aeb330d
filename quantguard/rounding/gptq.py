"""GPTQ (Frantar et al., arXiv 2210.17323, algorithm 1): round column by column and let later columns make up for it.

Scales are those of ``nearest``, chosen from the original weight before any column is rounded (static groups), so that
``act_order`` may visit the columns by falling importance and each still finds the scale of its own group.
"""

from typing import Any

import torch

from quantguard.errors import MeasurementError, RecipeError
from quantguard.modeling import InputStats
from quantguard.numerics import QuantTensor, choose_scale, group_slices
from quantguard.recipes.options import settings
from quantguard.records import QuantArgs

NEEDS_GRAM = True
DEFAULTS = {"act_order": True, "damping": 0.01}
BLOCK_SIZE = 128
# Damping grows tenfold until the Cholesky factorisation succeeds; past this share of the mean it hides the data.
LARGEST_DAMPING = 1.0


def quantize_weight(
    weight: torch.Tensor, args: QuantArgs, *, stats: InputStats | None, options: dict[str, Any]
) -> QuantTensor:
    """Quantize float ``[out_features, in_features]`` with the inputs' Gram matrix; the factorisation is in float64.

    Raises MeasurementError without usable statistics and RecipeError for unknown or impossible options.
    """
    chosen = settings("gptq", DEFAULTS, options)
    if not 0 < chosen["damping"] <= LARGEST_DAMPING:
        raise RecipeError(
            f"gptq: damping is {chosen['damping']}; a share of the mean above 0, at most {LARGEST_DAMPING}"
        )
    if stats is None or stats.gram is None or stats.num_tokens == 0:
        raise MeasurementError("gptq needs the Gram matrix of the layer's inputs, and calibration gave none")
    scale, zero_point = _static_scales(weight, args)
    hessian, work = _prepare(weight, stats.gram)
    order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
    if not chosen["act_order"]:
        order = torch.arange(weight.shape[1])
    factor = _inverse_factor(hessian[order][:, order], float(chosen["damping"]))
    groups = (torch.arange(weight.shape[1]) // (args.group_size or weight.shape[1]))[order]
    zeros = torch.zeros_like(scale) if zero_point is None else zero_point.double()
    rounded = _round_columns(work[:, order], factor, scale.double()[:, groups], zeros.double()[:, groups], args)
    data = torch.empty_like(rounded)
    data[:, order] = rounded
    return QuantTensor(data=data, scale=scale, zero_point=zero_point, args=args)


def _static_scales(weight: torch.Tensor, args: QuantArgs) -> tuple[torch.Tensor, torch.Tensor | None]:
    chosen = [choose_scale(weight[:, columns], args) for columns in group_slices(weight.shape[1], args)]
    scale = torch.cat([scale for scale, _ in chosen], dim=1)
    return scale, None if args.symmetric else torch.cat([z for _, z in chosen if z is not None], dim=1)


def _prepare(weight: torch.Tensor, gram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return Hessian and weight in float64 on the CPU, with inputs that never fired set aside."""
    hessian, work = gram.double().cpu().clone(), weight.detach().double().cpu().clone()
    if not torch.isfinite(hessian).all():
        raise MeasurementError("gptq: the inputs seen in calibration hold NaN or infinity")
    dead = hessian.diagonal() == 0
    hessian[dead, dead] = 1.0
    work[:, dead] = 0.0
    return hessian, work


def _inverse_factor(hessian: torch.Tensor, damping: float) -> torch.Tensor:
    """Return the upper Cholesky factor of the damped Hessian's inverse, float64."""
    mean = hessian.diagonal().mean()
    while damping <= LARGEST_DAMPING:
        damped = hessian + torch.eye(len(hessian), dtype=torch.float64) * (damping * mean)
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            # An inverse that is nearly singular can fail where the Hessian itself did not.
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
        if not failed:
            inverse_factor: torch.Tensor = upper
            return inverse_factor
        damping *= 10
    raise MeasurementError(
        f"gptq: the Hessian is not positive definite even with damping {LARGEST_DAMPING} of its mean"
    )


def _round_columns(
    work: torch.Tensor, factor: torch.Tensor, scale: torch.Tensor, zeros: torch.Tensor, args: QuantArgs
) -> torch.Tensor:
    """Round the columns in order, feeding each one's error forward; all float64 ``[out, in]`` but the int8 result."""
    data = torch.empty(work.shape, dtype=torch.int8)
    width = work.shape[1]
    for start in range(0, width, BLOCK_SIZE):
        stop = min(start + BLOCK_SIZE, width)
        errors = torch.empty(work.shape[0], stop - start, dtype=torch.float64)
        for column in range(start, stop):
            step, zero = scale[:, column], zeros[:, column]
            integers = torch.clamp(torch.round(work[:, column] / step) + zero, args.minimum, args.maximum)
            data[:, column] = integers.to(torch.int8)
            error = (work[:, column] - (integers - zero) * step) / factor[column, column]
            work[:, column + 1 : stop] -= error[:, None] * factor[column, column + 1 : stop]
            errors[:, column - start] = error
        work[:, stop:] -= errors @ factor[start:stop, stop:]
    return data
