"""Quantization with a fixed scale by ``npu_quantize``: float16 and bfloat16, eight bits."""

import torch

from quantguard.kernels.ascend import vendor
from quantguard.kernels.ascend.quantize_per_token import require_eight_bits
from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Give the reason why the operation cannot run here, or None."""
    return vendor.unavailable("npu_quantize")


def apply(x: torch.Tensor, scale: torch.Tensor, *, args: QuantArgs) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize as the contract says."""
    require_eight_bits("npu_quantize", args)
    return vendor.quantize(x, scale.flatten()), scale.expand(x.shape[0], 1).contiguous()
