"""Contract: rotation and per-token quantization in one (``npu_rotate_quant``, ``npu_kronecker_quant``).

A layer runs it in place of ``rotate`` and ``quantize_per_token`` where its backend has a body of its own for it.
"""

import torch

from quantguard import numerics
from quantguard.kernels import rotate
from quantguard.records import QuantArgs, RotationArgs


def unsupported(_rotation: RotationArgs) -> str | None:
    """Return None: the reference takes every rotation."""
    return None


def apply(
    x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor | None, *, args: QuantArgs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate as :mod:`quantguard.kernels.rotate` says, and quantize the float32 result without rounding it before.

    The factors count as rounded to the type of ``x``. Returns int8 of the shape of ``x``, within ``args.num_bits``, and
    float32 scale ``[num_tokens, 1]``. A backend that has ``w4a4_linear`` may return four bits in the layout of that.
    """
    factors = (None if factor is None else factor.to(x.dtype) for factor in (left, right))
    return numerics.quantize_tokens(rotate.apply(x.float(), *factors), args)
