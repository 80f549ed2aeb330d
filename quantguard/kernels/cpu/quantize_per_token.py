"""Per-token quantization in one pass over the activations."""

import numpy as np
import torch

from quantguard.kernels.cpu import elementwise
from quantguard.kernels.quantize_per_token import unsupported

__all__ = ["apply", "unsupported"]


def apply(x: torch.Tensor, *, num_bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize as the contract says; float16 is widened to float32 first."""
    q = torch.empty(x.shape, dtype=torch.int8)
    scale = torch.empty(x.shape[0], 1)
    maximum = np.float32(2 ** (num_bits - 1) - 1)
    x = x.detach().contiguous()
    if x.dtype == torch.bfloat16:
        kernel, values = elementwise.quantize_bf16_rows, x.view(torch.int16).numpy()
    else:
        kernel, values = elementwise.quantize_rows, x.float().numpy()
    elementwise.over_rows(kernel, values, maximum, scale.numpy(), q.numpy())
    return q, scale
