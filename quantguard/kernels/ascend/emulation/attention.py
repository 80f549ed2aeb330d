"""Emulated attention over an int8 KV cache, and writing to it."""

from collections.abc import Callable
from typing import Any

import torch

from quantguard.errors import KernelError
from quantguard.kernels.ascend.emulation.refusing import refuse

_NO_LIMIT = 2147483647


def quant_scatter_(
    cache: torch.Tensor,
    indices: torch.Tensor,
    updates: torch.Tensor,
    quant_scales: torch.Tensor,
    quant_zero_points: torch.Tensor | None = None,
    axis: int = -2,
    quant_axis: int = -1,
    reduce: str = "update",
    dst_type: int | None = None,
    round_mode: str | None = "rint",
) -> torch.Tensor:
    """Write ``round(updates / quant_scales)`` into ``cache`` in place, sequence ``i`` from ``indices[i]`` on."""
    refuse("npu_quant_scatter_", quant_zero_points=quant_zero_points, dst_type=dst_type)
    if axis not in (-2, cache.ndim - 2) or quant_axis not in (-1, cache.ndim - 1) or reduce != "update":
        raise KernelError("npu_quant_scatter_ is emulated along the last dimension but one, with reduce='update'")
    if indices.ndim != 1 or round_mode != "rint":
        raise KernelError("npu_quant_scatter_ is emulated with one index for each sequence and round_mode='rint'")
    q = torch.round(updates.float() / quant_scales.float().flatten()).clamp(-128, 127).to(torch.int8)
    for row, start in enumerate(indices.tolist()):
        cache[row, ..., start : start + q.shape[-2], :] = q[row]
    return cache


def fused_infer_attention_score(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    atten_mask: torch.Tensor | None = None,
    actual_seq_lengths_kv: list[int] | None = None,
    key_antiquant_scale: torch.Tensor | None = None,
    value_antiquant_scale: torch.Tensor | None = None,
    num_heads: int = 1,
    scale: float = 1.0,
    input_layout: str = "BSH",
    num_key_value_heads: int = 0,
    pre_tokens: int = _NO_LIMIT,
    next_tokens: int = _NO_LIMIT,
    **others: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend in float32 to keys and values ``[batch, tokens, width]``, dequantized per channel to the query's type."""
    op = "npu_fused_infer_attention_score"
    refuse(op, **others)
    if input_layout != "BSH" or (pre_tokens, next_tokens) != (_NO_LIMIT, _NO_LIMIT):
        raise KernelError(f"{op} is emulated with input_layout='BSH' and no limits of tokens")
    keys, values = _dequantize(key, key_antiquant_scale, query), _dequantize(value, value_antiquant_scale, query)
    shared = num_heads // (num_key_value_heads or num_heads)
    q = _heads(query, num_heads)
    k, v = (_heads(t, num_heads // shared).repeat_interleave(shared, dim=1) for t in (keys, values))
    scores = q.float() @ k.float().transpose(-1, -2) * scale
    hidden = _hidden(scores, atten_mask, actual_seq_lengths_kv)
    weights = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1)
    y = (weights @ v.float()).to(query.dtype).transpose(1, 2).flatten(2)
    # The sums behind the softmax, which nobody asks for: the vendor returns an empty tensor.
    return y, torch.empty(0)


def _dequantize(tensor: torch.Tensor, scale: torch.Tensor | None, query: torch.Tensor) -> torch.Tensor:
    if tensor.dtype != torch.int8:
        return tensor
    if scale is None:
        raise KernelError("npu_fused_infer_attention_score: int8 keys and values without a scale are not emulated")
    return tensor.to(query.dtype) * scale.flatten()


def _heads(tensor: torch.Tensor, num_heads: int) -> torch.Tensor:
    heads: torch.Tensor = tensor.unflatten(-1, (num_heads, -1)).transpose(1, 2)
    return heads


def _hidden(scores: torch.Tensor, mask: torch.Tensor | None, lengths: list[int] | None) -> torch.Tensor:
    """Return true where a query must not see a key: ``[batch, heads, queries, keys]``."""
    hidden = torch.zeros(scores.shape, dtype=torch.bool)
    if mask is not None:
        hidden |= mask.bool()
    for row, length in enumerate(lengths or ()):
        hidden[row, ..., length:] = True
    return hidden


KERNELS: dict[str, Callable[..., Any]] = {
    "npu_quant_scatter_": quant_scatter_,
    "npu_fused_infer_attention_score": fused_infer_attention_score,
}
