"""Contract: rotation and per-token quantization in one (``npu_rotate_quant``, ``npu_kronecker_quant``)."""

import torch

from quantguard import numerics
from quantguard.kernels import rotate
from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Return None: the weights do not matter here."""
    return None


def apply(
    x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor, *, args: QuantArgs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate as :mod:`quantguard.kernels.rotate` says, and quantize the float32 result without rounding it before.

    The factors count as rounded to the type of ``x``. Returns int8 of the shape of ``x``, within ``args.num_bits``, and
    float32 scale ``[num_tokens, 1]``.
    """
    factors = (None if left is None else left.to(x.dtype), right.to(x.dtype))
    return numerics.quantize_tokens(rotate.apply(x.float(), *factors), args)
