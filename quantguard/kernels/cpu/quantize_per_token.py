"""Per-token quantization in one pass over the activations."""

import numpy as np
import torch

from quantguard.kernels.cpu.compiled import elementwise
from quantguard.kernels.quantize_per_token import unsupported
from quantguard.numerics.torch_threads import launcher
from quantguard.records import QuantArgs

__all__ = ["apply", "unsupported"]


def apply(x: torch.Tensor, *, args: QuantArgs, smooth: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize as the contract says; float16 is widened to float32 first."""
    if smooth is not None:
        x = x.float() * smooth.float()
    x = x.detach().contiguous()
    values = x.view(torch.int16) if x.dtype == torch.bfloat16 else x.float()
    q, scale = torch.empty(x.shape, dtype=torch.int8), torch.empty(len(x), 1)
    limits = np.float32(args.maximum), np.float32(args.clip_ratio)
    elementwise.quantize(values.numpy(), *limits, scale.numpy(), q.numpy(), torch.get_num_threads(), launcher())
    return q, scale
