"""Contract: quantize activations symmetrically with one scale for all tokens (the vendor's ``npu_quantize``)."""

import torch

from quantguard.numerics import quantize_columns
from quantguard.records import QuantArgs


def unsupported(_activations: QuantArgs) -> str | None:
    """Return None: the reference makes whatever activations are asked for."""
    return None


def apply(x: torch.Tensor, scale: torch.Tensor, *, args: QuantArgs) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize ``x``: ``q = clamp(round_half_even(x / scale))`` in float32.

    x: float32, bfloat16 or float16, shape ``[num_tokens, in_features]``. scale: float32 ``[1, 1]``.
    Returns int8 of the same shape, and the scale for every token, float32 ``[num_tokens, 1]``.
    """
    return quantize_columns(x, scale, None, args), scale.expand(x.shape[0], 1).contiguous()


def apply_asymmetric(
    x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, *, args: QuantArgs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize ``x`` around a zero point: ``q = clamp(round_half_even(x / scale) + zero_point)``.

    zero_point: int32 ``[1, 1]``. Not every backend has this; the others refuse such layers.
    Returns what :func:`apply` does.
    """
    return quantize_columns(x, scale, zero_point, args), scale.expand(x.shape[0], 1).contiguous()
