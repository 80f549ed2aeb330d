"""Quantization with a fixed scale by ``npu_quantize``: float16 and bfloat16, eight bits."""

import torch

from quantguard.kernels.ascend import vendor
from quantguard.records import QuantArgs


def unsupported(activations: QuantArgs) -> str | None:
    """Give the reason why the operation cannot make such activations, or run here, or None."""
    if not activations.symmetric:
        return "it takes static activations without a zero point: use backend='cpu' or 'reference' on the CPU."
    if activations.num_bits != 8:
        return "npu_quantize makes 8 bits. Set num_bits = 8 in the recipe, or run on backend='reference'."
    return vendor.unavailable("npu_quantize")


def apply(x: torch.Tensor, scale: torch.Tensor, *, args: QuantArgs) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize as the contract says."""
    del args
    return vendor.quantize(x, scale.flatten()), scale.expand(x.shape[0], 1).contiguous()
