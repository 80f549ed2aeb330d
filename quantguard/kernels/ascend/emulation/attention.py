"""Emulated attention of one token a sequence over an int8 KV cache."""

from collections.abc import Callable
from typing import Any

import torch

from quantguard.errors import KernelError
from quantguard.kernels.ascend.emulation.refusing import refuse

_NO_LIMIT = 2147483647
_PER_CHANNEL, _PER_TOKEN_AND_HEAD = 0, 3


def fused_infer_attention_score(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    atten_mask: torch.Tensor | None = None,
    key_antiquant_scale: torch.Tensor | None = None,
    key_antiquant_offset: torch.Tensor | None = None,
    value_antiquant_scale: torch.Tensor | None = None,
    value_antiquant_offset: torch.Tensor | None = None,
    key_antiquant_mode: int = 0,
    value_antiquant_mode: int = 0,
    num_heads: int = 1,
    scale: float = 1.0,
    input_layout: str = "BSH",
    num_key_value_heads: int = 0,
    pre_tokens: int = _NO_LIMIT,
    next_tokens: int = _NO_LIMIT,
    **others: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend in float32 to keys and values ``[batch, heads, tokens, head_dim]``, dequantized to the query's type."""
    op = "npu_fused_infer_attention_score"
    refuse(op, **others)
    if input_layout != "BNSD" or query.shape[2] != 1 or (pre_tokens, next_tokens) != (_NO_LIMIT, _NO_LIMIT):
        raise KernelError(f"{op} is emulated with input_layout='BNSD', one query a sequence and no limits of tokens")
    modes = {key_antiquant_mode, value_antiquant_mode}
    if len(modes) != 1 or not modes <= {_PER_CHANNEL, _PER_TOKEN_AND_HEAD}:
        raise KernelError(f"{op} is emulated with antiquant modes 0 or 3, the same for keys and values, not {modes}")
    keys = _dequantize(key, key_antiquant_scale, key_antiquant_offset, key_antiquant_mode, query.dtype)
    values = _dequantize(value, value_antiquant_scale, value_antiquant_offset, value_antiquant_mode, query.dtype)
    shared = num_heads // (num_key_value_heads or num_heads)
    k, v = (tensor.repeat_interleave(shared, dim=1) for tensor in (keys, values))
    scores = query.float() @ k.float().transpose(-1, -2) * scale
    if atten_mask is not None:
        scores = scores.masked_fill(atten_mask.bool(), -torch.inf)
    y = (scores.softmax(dim=-1) @ v.float()).to(query.dtype)
    # The sums behind the softmax, which nobody asks for: the vendor returns an empty tensor.
    return y, torch.empty(0)


def _dequantize(
    tensor: torch.Tensor, scale: torch.Tensor | None, offset: torch.Tensor | None, mode: int, dtype: torch.dtype
) -> torch.Tensor:
    """``(tensor + offset) * scale`` in the type of the scale, rounded to that of the query."""
    if tensor.dtype != torch.int8 or scale is None:
        raise KernelError("npu_fused_infer_attention_score is emulated for int8 keys and values with their scales")
    by_token = mode == _PER_TOKEN_AND_HEAD
    values = tensor.to(scale.dtype)
    if offset is not None:
        values = values + (offset[..., None] if by_token else offset)
    return (values * (scale[..., None] if by_token else scale)).to(dtype)


KERNELS: dict[str, Callable[..., Any]] = {"npu_fused_infer_attention_score": fused_infer_attention_score}
