"""Per-token quantization in one pass over the activations."""

import numpy as np
import torch

from quantguard.kernels.cpu import elementwise
from quantguard.kernels.quantize_per_token import unsupported
from quantguard.records import QuantArgs

__all__ = ["apply", "unsupported"]


def apply(x: torch.Tensor, *, args: QuantArgs, smooth: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize as the contract says; float16 is widened to float32 first."""
    if smooth is not None:
        x = x.float() * smooth.float()
    q = torch.empty(x.shape, dtype=torch.int8)
    scale = torch.empty(x.shape[0], 1)
    limits = np.float32(args.maximum), np.float32(args.clip_ratio)
    x = x.detach().contiguous()
    if x.dtype == torch.bfloat16:
        kernel, values = elementwise.quantize_bf16_rows, x.view(torch.int16).numpy()
    else:
        kernel, values = elementwise.quantize_rows, x.float().numpy()
    elementwise.over_rows(kernel, values, *limits, scale.numpy(), q.numpy())
    return q, scale
