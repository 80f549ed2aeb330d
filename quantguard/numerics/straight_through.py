"""Quantize and dequantize with gradients: rounding passes them straight through (Bengio et al., arXiv 1308.3432).

Used while a transform is learned. The values are those of :mod:`quantguard.numerics.affine`; scales carry gradients,
so that clipping ratios can be learned too. On the CPU the formulas run compiled.
"""

import torch

from quantguard.numerics.affine import SMALLEST_SCALE
from quantguard.numerics.straight_through_cpu import FakeQuantize
from quantguard.records import QuantArgs

Share = torch.Tensor | float


def fake_quantize(
    x: torch.Tensor,
    args: QuantArgs,
    *,
    clip_low: Share = 1.0,
    clip_high: Share = 1.0,
) -> torch.Tensor:
    """Quantize along the last dimension of ``x`` and dequantize again; the shape and type stay.

    ``clip_low`` and ``clip_high`` are shares of the extremes, broadcast against ``[..., 1]``; symmetric
    quantization takes only ``clip_high``. A group size divides the last dimension into groups, the last one shorter
    if need be.
    """
    if args.group_size is not None and args.group_size < x.shape[-1]:
        if x.shape[-1] % args.group_size == 0:
            groups = x.unflatten(-1, (-1, args.group_size))
            shares = [c.unsqueeze(-1) if isinstance(c, torch.Tensor) and c.ndim else c for c in (clip_low, clip_high)]
            return _fake_quantize(groups, args, *shares).flatten(-2)
        pieces = x.split(args.group_size, dim=-1)
        return torch.cat([_fake_quantize(piece, args, clip_low, clip_high) for piece in pieces], dim=-1)
    return _fake_quantize(x, args, clip_low, clip_high)


def _fake_quantize(x: torch.Tensor, args: QuantArgs, clip_low: Share, clip_high: Share) -> torch.Tensor:
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return by_formula(x, args, clip_low, clip_high)
    rows = x.reshape(-1, x.shape[-1])
    low, high = (_by_row(share, x) for share in (clip_low, clip_high))
    y: torch.Tensor = FakeQuantize.apply(rows, low, high, args)  # type: ignore[no-untyped-call]
    return y.view(x.shape)


def _by_row(share: Share, x: torch.Tensor) -> torch.Tensor:
    """Return a share for every row of ``x``, in its type."""
    if not isinstance(share, torch.Tensor):
        return x.new_full((x.numel() // x.shape[-1],), share)
    return share.to(x.dtype).broadcast_to((*x.shape[:-1], 1)).reshape(-1)


def by_formula(x: torch.Tensor, args: QuantArgs, clip_low: Share, clip_high: Share) -> torch.Tensor:
    """Quantize and dequantize along the last dimension of ``x`` in plain torch, on any device."""
    if args.symmetric:
        extreme = x.abs().amax(dim=-1, keepdim=True) * args.clip_ratio * clip_high
        scale = (extreme / args.maximum).clamp_min(SMALLEST_SCALE)
        return _round(x / scale).clamp(args.minimum, args.maximum) * scale
    low = x.amin(dim=-1, keepdim=True).clamp_max(0.0) * args.clip_ratio * clip_low
    high = x.amax(dim=-1, keepdim=True).clamp_min(0.0) * args.clip_ratio * clip_high
    scale = ((high - low) / (args.maximum - args.minimum)).clamp_min(SMALLEST_SCALE)
    zero_point = _round(args.minimum - low / scale).clamp(args.minimum, args.maximum)
    return ((_round(x / scale) + zero_point).clamp(args.minimum, args.maximum) - zero_point) * scale


def _round(x: torch.Tensor) -> torch.Tensor:
    return x + (torch.round(x) - x).detach()
