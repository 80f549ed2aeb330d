"""Writing to an int8 KV cache by ``npu_quant_scatter_``."""

import torch

from quantguard.kernels.ascend import vendor
from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Give the reason why the operation cannot run here, or None."""
    return vendor.unavailable("npu_quant_scatter_")


def apply(cache: torch.Tensor, positions: torch.Tensor, new: torch.Tensor, scale: torch.Tensor) -> None:
    """Quantize and write as the contract says; float16 and bfloat16 only."""
    vendor.quant_scatter_(cache, positions, new, scale)
