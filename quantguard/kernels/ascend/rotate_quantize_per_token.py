"""Blocks to 8 bits by ``npu_rotate_quant``; Kronecker products to packed 4 bits by ``npu_kronecker_quant``."""

import torch

from quantguard.kernels.ascend import rotation_checks, vendor
from quantguard.records import QuantArgs, RotationArgs


def unsupported(rotation: RotationArgs) -> str | None:
    """Give the reason why the operations cannot do such a rotation, or run here, or None."""
    args, left, right = rotation.activations, rotation.left, rotation.right
    if args is not None and left is None and right is not None and args.num_bits == 8 and args.clip_ratio == 1.0:
        fits = rotation_checks.block_fits(rotation.width, right)
        return vendor.unavailable("npu_rotate_quant") if fits else rotation_checks.BLOCKS
    if args is not None and left is not None and args.num_bits == 4:
        fits = rotation_checks.kronecker_fits(left, rotation.width // left)
        return vendor.unavailable("npu_kronecker_quant") if fits else rotation_checks.FACTORS
    return "it rotates by blocks to 8 bits, unclipped, and by Kronecker products to 4 bits."


def apply(
    x: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor | None, *, args: QuantArgs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate and quantize as the contract says; four bits are int32 ``[num_tokens, in_features / 8]``."""
    if left is None:
        assert right is not None
        q, scale = vendor.rotate_quant(x, right.to(x.dtype))
        return q, scale[:, None]
    if right is None:
        right = torch.eye(x.shape[1] // len(left), device=x.device)
    # The operation has the left factor as it stands; the contract, as the model does, transposed.
    matrices = x.unflatten(-1, (len(left), len(right)))
    factors = left.to(x.dtype).t().contiguous(), right.to(x.dtype)
    packed, scale = vendor.kronecker_quant(matrices, *factors, clip_ratio=args.clip_ratio)
    return packed.flatten(1), scale[:, None]
