"""Contract: quantize new keys or values with fixed scales into an int8 cache, in place (``npu_quant_scatter_``)."""

import torch

from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Return None: the weights do not matter here."""
    return None


def apply(cache: torch.Tensor, positions: torch.Tensor, new: torch.Tensor, scale: torch.Tensor) -> None:
    """Write ``clamp(round_half_even(new / scale), -128, 127)``, in float32, sequence ``i`` from ``positions[i]`` on.

    cache: int8, shape ``[batch, tokens, width]``; width is key-value heads times head_dim. positions: int32
    ``[batch]``. new: float ``[batch, n, width]``. scale: float32 ``[width]``.
    """
    q = torch.round(new.float() / scale).clamp(-128, 127).to(torch.int8)
    for row, start in enumerate(positions.tolist()):
        cache[row, start : start + q.shape[1]] = q[row]
