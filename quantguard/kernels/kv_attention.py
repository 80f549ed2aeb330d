"""Contract: attention of one new token a sequence over an int8 KV cache (``npu_fused_infer_attention_score``)."""

import torch

from quantguard.records import QuantArgs


def unsupported(_weights: QuantArgs) -> str | None:
    """Return None: the weights do not matter here."""
    return None


def apply(
    query: torch.Tensor,
    cache: tuple[torch.Tensor, torch.Tensor],
    scales: tuple[torch.Tensor, torch.Tensor],
    lengths: list[int],
    *,
    num_heads: int,
    num_key_value_heads: int,
    softmax_scale: float,
) -> torch.Tensor:
    """Return ``softmax(softmax_scale * q K^T) V`` in float32 with ``K = cache * scale``, rounded to the query's type.

    query: float ``[batch, 1, num_heads * head_dim]``. cache: keys and values, int8 ``[batch, tokens,
    num_key_value_heads * head_dim]``. scales: float32 ``[num_key_value_heads * head_dim]`` each. lengths: the tokens of
    each sequence that there are. Consecutive query heads share a head of keys. Returns the shape and type of ``query``.
    """
    shared = num_heads // num_key_value_heads
    keys, values = (
        (stored.float() * scale).unflatten(-1, (num_key_value_heads, -1)).repeat_interleave(shared, dim=2)
        for stored, scale in zip(cache, scales, strict=True)
    )
    q = query.float().unflatten(-1, (num_heads, -1))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, keys) * softmax_scale
    for row, length in enumerate(lengths):
        scores[row, ..., length:] = -torch.inf
    y = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(dim=-1), values)
    return y.flatten(2).to(query.dtype)
