"""QuIP# (Tseng et al., arXiv 2402.04396): incoherence, then LDLQ with the E8P codebook at 2, 3 or 4 bits.

The weight is rotated on both sides by randomised Hadamard matrices (section 3), which leaves it looking Gaussian.
Blocks of eight columns are coded from the last to the first, each with the rounding errors of those behind it fed
back through the block LDL decomposition of the Hessian (section 4.1); ``sweeps`` of coordinate descent follow. Then
the weight is rotated back: no kernel for these codes exists on Ascend, so the layer multiplies with a float weight
that the codes stand for. It is a study of accuracy, and says so wherever it ran.
"""

from typing import Any

import numpy as np
import torch

from quantguard.errors import MeasurementError, RecipeError
from quantguard.modeling import InputStats
from quantguard.numerics import FakeQuantTensor
from quantguard.numerics.e8p import TARGET_RMS, quantize_vectors
from quantguard.numerics.hadamard import random_orthogonal
from quantguard.recipes.options import settings
from quantguard.records import QuantArgs
from quantguard.rounding._gram import required_gram

NEEDS_GRAM = True
WEIGHT_TYPES = ("e8p",)
DEFAULTS = {"damping": 0.01, "sweeps": 2, "seed": 0}
BLOCK = 8


def quantize_weight(
    weight: torch.Tensor,
    args: QuantArgs,
    *,
    stats: InputStats | None,
    options: dict[str, Any],
    clip: torch.Tensor | None = None,
) -> FakeQuantTensor:
    """Code float ``[out_features, in_features]`` with the inputs' Gram matrix; all arithmetic is in float64.

    Raises MeasurementError without usable statistics, and RecipeError for unknown options or a width that is no
    multiple of eight.
    """
    del clip  # a codebook has no range
    chosen = settings("quip", DEFAULTS, options)
    out_features, in_features = weight.shape
    if in_features % BLOCK:
        raise RecipeError(f"quip codes eight inputs at once; a layer with {in_features} is no multiple of eight")
    gram = required_gram(stats, "quip")
    rows, columns = (
        random_orthogonal(size, seed=chosen["seed"] + side) for side, size in enumerate((out_features, in_features))
    )
    hessian = columns.t() @ _normalised(gram.double().cpu(), chosen["damping"]) @ columns
    rotated = rows.t() @ weight.detach().double().cpu() @ columns
    scale = float(rotated.square().mean().sqrt()) / TARGET_RMS or 1.0
    coded = _ldlq(rotated / scale, hessian, args.num_bits)
    for _ in range(chosen["sweeps"]):
        _descend(rotated / scale, coded, hessian, args.num_bits)
    return FakeQuantTensor(weight=(rows @ (coded * scale) @ columns.t()).float(), args=args)


def _normalised(gram: torch.Tensor, damping: float) -> torch.Tensor:
    if not torch.isfinite(gram).all():
        raise MeasurementError("quip: the inputs seen in calibration hold NaN or infinity")
    mean = gram.diagonal().mean().clamp_min(1e-30)
    return gram / mean + damping * torch.eye(len(gram), dtype=torch.float64)


def _ldlq(weight: torch.Tensor, hessian: torch.Tensor, num_bits: int) -> torch.Tensor:
    """Code the blocks of columns from the last to the first with feedback through the block LDL decomposition."""
    lower = _block_unit_lower(hessian)
    coded = torch.zeros_like(weight)
    for start in range(weight.shape[1] - BLOCK, -1, -BLOCK):
        stop = start + BLOCK
        feedback = (weight[:, stop:] - coded[:, stop:]) @ lower[stop:, start:stop]
        coded[:, start:stop] = _code(weight[:, start:stop] + feedback, num_bits)
    return coded


def _block_unit_lower(hessian: torch.Tensor) -> torch.Tensor:
    """Return L of ``H = L D Lᵀ``, with identities for its diagonal blocks of eight."""
    factor = torch.linalg.cholesky(hessian)
    lower = torch.zeros_like(factor)
    for start in range(0, len(factor), BLOCK):
        block = slice(start, start + BLOCK)
        lower[:, block] = torch.linalg.solve(factor[block, block], factor[:, block], left=False)
    return lower


def _descend(weight: torch.Tensor, coded: torch.Tensor, hessian: torch.Tensor, num_bits: int) -> None:
    """Code every block anew, given all others: one sweep of block coordinate descent on the output error."""
    product = (weight - coded) @ hessian
    for start in range(0, weight.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        own = hessian[block, block]
        # What the error of all other blocks asks of this one.
        others = product[:, block] - (weight[:, block] - coded[:, block]) @ own
        found = _code(weight[:, block] + torch.linalg.solve(own, others, left=False), num_bits)
        changed, candidate = weight[:, block] - coded[:, block], weight[:, block] - found
        gain = _cost(changed, own, others) - _cost(candidate, own, others)
        better = (gain > 0)[:, None]
        product += torch.where(better, coded[:, block] - found, 0.0) @ hessian[block]
        coded[:, block] = torch.where(better, found, coded[:, block])


def _cost(error: torch.Tensor, own: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return what a block's error adds to the output error of each row."""
    return ((error @ own + 2 * others) * error).sum(dim=1)


def _code(values: torch.Tensor, num_bits: int) -> torch.Tensor:
    return torch.from_numpy(quantize_vectors(np.ascontiguousarray(values.numpy()), num_bits))
