"""Contract: quantize activations symmetrically with one scale a token (the vendor's ``npu_dynamic_quant``)."""

import torch

from quantguard import numerics
from quantguard.records import QuantArgs


def unsupported(_activations: QuantArgs) -> str | None:
    """Return None: the reference makes whatever activations are asked for."""
    return None


def apply(x: torch.Tensor, *, args: QuantArgs, smooth: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize ``x * smooth``, in float32 throughout.

    ``scale = clip_ratio * max|x| / (2^(b-1) - 1)``, ``q = clamp(round_half_even(x / scale))``.
    x: float32, bfloat16 or float16, shape ``[num_tokens, in_features]``. smooth: ``[in_features]``, or absent for ones.
    Returns int8 of the same shape and float32 scale ``[num_tokens, 1]``, at least 1e-30. A backend that has
    ``w4a4_linear`` may return four bits in the layout of that.
    """
    return numerics.quantize_tokens(x if smooth is None else x.float() * smooth.float(), args)
