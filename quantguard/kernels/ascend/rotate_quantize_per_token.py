"""Blocks to 8 bits by ``npu_rotate_quant``; Kronecker products to 4 bits by ``npu_kronecker_quant``."""

import torch

from quantguard.errors import KernelError
from quantguard.kernels.ascend import vendor
from quantguard.numerics import unpack_int4
from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Give the reason why the operations cannot run here, or None."""
    return vendor.unavailable("npu_rotate_quant", "npu_kronecker_quant")


def apply(
    x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor, *, args: QuantArgs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate and quantize as the contract says."""
    right = right.to(x.dtype)
    if left is None and args.num_bits == 8 and args.clip_ratio == 1.0:
        q, scale = vendor.rotate_quant(x, right)
        return q, scale[:, None]
    if left is None or args.num_bits != 4:
        kind = "blocks" if left is None else "a Kronecker product"
        raise KernelError(
            f"rotation by {kind} to {args.num_bits} bits, clip_ratio {args.clip_ratio}: possible are blocks to 8 bits,"
            " unclipped, and Kronecker products to 4. Rotate and quantize apart, or run on backend='reference'"
        )
    # The operation has the left factor as it stands; the contract, as the model does, transposed.
    matrices = x.unflatten(-1, (len(left), len(right)))
    packed, scale = vendor.kronecker_quant(
        matrices, left.to(x.dtype).t().contiguous(), right, clip_ratio=args.clip_ratio
    )
    return unpack_int4(packed.flatten(1).view(torch.uint8), x.shape[1]), scale[:, None]
