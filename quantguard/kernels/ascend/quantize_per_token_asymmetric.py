"""Asymmetric per-token quantization by ``npu_dynamic_quant_asymmetric``."""

import torch

from quantguard.kernels.ascend import vendor
from quantguard.kernels.ascend.quantize_per_token import require_eight_bits
from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Give the reason why the operation cannot run here, or None."""
    return vendor.unavailable("npu_dynamic_quant_asymmetric")


def apply(
    x: torch.Tensor, *, args: QuantArgs, smooth: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Quantize as the contract says, but for a token of equal values: its scale is 0."""
    require_eight_bits("npu_dynamic_quant_asymmetric", args)
    smooth = None if smooth is None else smooth.to(x.dtype)
    q, scale, offset = vendor.dynamic_quant_asymmetric(x, smooth_scales=smooth)
    return q, scale[:, None], offset[:, None]
