"""Per-token quantization by ``npu_dynamic_quant``: float16 and bfloat16, no clipping; four bits come packed."""

import torch

from quantguard.kernels.ascend import vendor
from quantguard.records import QuantArgs


def unsupported(activations: QuantArgs) -> str | None:
    """Give the reason why the operation cannot make such activations, or run here, or None."""
    if activations.num_bits not in (4, 8) or activations.clip_ratio != 1.0:
        return (
            "npu_dynamic_quant makes 4 or 8 bits, unclipped. Set num_bits = 8 and clip_ratio = 1.0 in the recipe, or"
            " run on backend='reference'."
        )
    return vendor.unavailable("npu_dynamic_quant")


def apply(x: torch.Tensor, *, args: QuantArgs, smooth: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize as the contract says; a token of zeros has scale 0 and not the contract's smallest.

    Four bits are int32 ``[num_tokens, in_features / 8]``, as ``w4a4_linear`` takes them.
    """
    smooth = None if smooth is None else smooth.to(x.dtype)
    q, scale = vendor.dynamic_quant(x, num_bits=args.num_bits, smooth_scales=smooth)
    return q, scale[:, None]
