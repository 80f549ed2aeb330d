"""Contract: attention of one new token a sequence over stored integers (``npu_fused_infer_attention_score``).

A layer runs it in place of ``kv_cache``'s restoring and torch's attention where its backend has a body of its own.
"""

import torch

from quantguard.kernels.kv_cache import Stored
from quantguard.numerics import KVQuantizer
from quantguard.records import QuantArgs


def unsupported(_args: QuantArgs) -> str | None:
    """Return None: the reference attends to whatever KVQuantizer stores."""
    return None


def apply(
    query: torch.Tensor,
    stored: tuple[Stored, Stored],
    quantizers: tuple[KVQuantizer, KVQuantizer],
    hidden: torch.Tensor | None,
    *,
    softmax_scale: float,
) -> torch.Tensor:
    """Return ``softmax(softmax_scale * q K^T) V`` over restored keys and values, in float32; rounded once.

    query: float ``[batch, heads, 1, head_dim]``. stored, quantizers: those of keys and of values, as ``kv_cache`` of
    the same backend stores them. hidden: bool ``[batch, 1, 1, tokens]``, true where a token is not seen, or absent.
    Consecutive query heads share a head of keys. Returns the shape and type of ``query``.
    """
    keys, values = (quantizer.restore(part) for quantizer, part in zip(quantizers, stored, strict=True))
    shared = query.shape[1] // keys.shape[1]
    keys, values = (tensor.repeat_interleave(shared, dim=1) for tensor in (keys, values))
    scores = query.float() @ keys.transpose(-1, -2) * softmax_scale
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    return (scores.softmax(dim=-1) @ values).to(query.dtype)
