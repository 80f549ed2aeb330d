"""Per-token quantization by ``npu_dynamic_quant``: float16 and bfloat16, eight bits, no clipping."""

import torch

from quantguard.errors import KernelError
from quantguard.kernels.ascend import vendor
from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Give the reason why the operation cannot run here, or None."""
    return vendor.unavailable("npu_dynamic_quant")


def apply(x: torch.Tensor, *, args: QuantArgs, smooth: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize as the contract says; a token of zeros has scale 0 and not the contract's smallest."""
    require_eight_bits("npu_dynamic_quant", args)
    q, scale = vendor.dynamic_quant(x, smooth_scales=None if smooth is None else smooth.to(x.dtype))
    return q, scale[:, None]


def require_eight_bits(op: str, args: QuantArgs) -> None:
    """Raise KernelError for activations that the operation does not make."""
    if args.num_bits != 8 or args.clip_ratio != 1.0:
        raise KernelError(
            f"{op}: asked for {args.num_bits}-bit activations with clip_ratio {args.clip_ratio}; possible: 8 bits,"
            " unclipped. Set num_bits = 8 and clip_ratio = 1.0 in the recipe, or run on backend='reference'"
        )
