"""What the vendor's attention over an int8 KV cache takes silently though it is wrong: almost everything."""

import torch

from quantguard.kernels.ascend import checks
from quantguard.kernels.ascend.checks import need

Pair = tuple[torch.Tensor, torch.Tensor]


def attention(
    op: str, query: torch.Tensor, cache: Pair, *, scales: Pair, offsets: Pair | None, hidden: torch.Tensor | None
) -> None:
    """Ask for one query a sequence, and int8 keys and values that have a scale for every channel or token and head."""
    batch, heads, tokens, head_dim = query.shape if query.ndim == 4 else (0, 0, 0, 0)
    need(
        op,
        holds=query.dtype in checks.ACTIVATION_DTYPES and tokens == 1,
        found=f"queries of {checks.name(query.dtype)} with shape {tuple(query.shape)}",
        possible="float16 or bfloat16 [batch, heads, 1, head_dim]: one token a sequence",
        advice="Attend to keys and values in floating point while the prompt is read.",
    )
    key_heads, length = cache[0].shape[1:3] if cache[0].ndim == 4 else (0, 0)
    need(
        op,
        holds=0 < key_heads <= heads and heads % key_heads == 0 and length > 0,
        found=f"{heads} heads, {key_heads} of keys, {length} tokens",
        possible="a number of heads that the ones of keys divide, and at least one token",
        advice="Keys and values are [batch, key_heads, tokens, head_dim].",
    )
    by_channel = scales[0].ndim == 4
    shape = (1, key_heads, 1, head_dim) if by_channel else (batch, key_heads, length)
    for what, stored, scale in zip(("keys", "values"), cache, scales, strict=True):
        checks.dtype(op, what, stored, torch.int8)
        checks.shape(op, what, stored, (batch, key_heads, length, head_dim), "They are as many as there are scales.")
        _parameter(op, f"the scale of {what}", scale, shape, query.dtype if by_channel else torch.float32)
    for what, offset in zip(("keys", "values"), offsets or (), strict=False):
        _parameter(op, f"the offset of {what}", offset, shape, scales[0].dtype)
    if hidden is not None:
        checks.dtype(op, "the mask", hidden, torch.bool)
        checks.shape(op, "the mask", hidden, (batch, 1, 1, length), "It hides tokens of each sequence.")


def _parameter(op: str, what: str, tensor: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    checks.dtype(op, what, tensor, dtype)
    checks.shape(op, what, tensor, shape, "It belongs to the keys and values that were stored with it.")
