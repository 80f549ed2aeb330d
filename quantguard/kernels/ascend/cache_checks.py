"""What the vendor's operations on an int8 KV cache take silently though it is wrong: almost everything."""

import torch

from quantguard.kernels.ascend import checks
from quantguard.kernels.ascend.checks import need

# The last dimension of what is written has to be a multiple of this many bytes.
_ALIGNMENT_BYTES = 32


def write(op: str, cache: torch.Tensor, positions: torch.Tensor, new: torch.Tensor, scale: torch.Tensor) -> None:
    """Ask that ``new`` float ``[batch, n, width]`` fits ``cache`` int8 ``[batch, tokens, width]``.

    Where the positions lie is not looked at: that would wait for the device.
    """
    checks.dtype(op, "the cache", cache, torch.int8)
    checks.dtype(op, "what is written", new, *checks.ACTIVATION_DTYPES)
    need(
        op,
        holds=cache.ndim == new.ndim == 3 and new.shape[::2] == cache.shape[::2] and 0 < new.shape[1] <= cache.shape[1],
        found=f"a cache of shape {tuple(cache.shape)} and new tokens of {tuple(new.shape)}",
        possible="[batch, tokens, width] each, at most as many tokens",
        advice="Allocate the cache for the longest sequence.",
    )
    width = cache.shape[2]
    need(
        op,
        holds=width * new.element_size() % _ALIGNMENT_BYTES == 0,
        found=f"rows of {width}",
        possible=f"whole {_ALIGNMENT_BYTES} bytes",
        advice="Keep this model's cache in floating point.",
    )
    checks.vector(op, "positions", positions, len(cache), torch.int32)
    checks.vector(op, "scale", scale, width, torch.float32)


def attention(
    op: str,
    query: torch.Tensor,
    cache: tuple[torch.Tensor, torch.Tensor],
    scales: tuple[torch.Tensor, torch.Tensor],
    lengths: list[int],
    *,
    num_heads: int,
    num_key_value_heads: int,
) -> None:
    """Ask for one query a sequence, and int8 keys and values that both have a scale for every channel."""
    batch, tokens, width = query.shape if query.ndim == 3 else (0, 0, 0)
    need(
        op,
        holds=query.dtype in checks.ACTIVATION_DTYPES and tokens == 1,
        found=f"queries of {checks.name(query.dtype)} with shape {tuple(query.shape)}",
        possible="float16 or bfloat16 [batch, 1, width]: one token a sequence",
        advice="Attend to keys and values in floating point while the prompt is read.",
    )
    need(
        op,
        holds=0 < num_key_value_heads <= num_heads and num_heads % num_key_value_heads == 0 and width % num_heads == 0,
        found=f"{num_heads} heads, {num_key_value_heads} of keys, in a width of {width}",
        possible="a number of heads that the ones of keys divide",
        advice="",
    )
    columns = width // num_heads * num_key_value_heads
    for what, stored, scale in zip(("keys", "values"), cache, scales, strict=True):
        checks.dtype(op, what, stored, torch.int8)
        checks.shape(
            op, what, stored, (batch, cache[0].shape[1], columns), "Keys and values are [batch, tokens, width]."
        )
        checks.dtype(op, f"the scale of {what}", scale, query.dtype)
        checks.shape(op, f"the scale of {what}", scale, (1, columns))
    need(
        op,
        holds=len(lengths) == batch and all(0 < length <= cache[0].shape[1] for length in lengths),
        found=f"lengths {lengths}",
        possible=f"{batch} numbers from 1 to {cache[0].shape[1]}",
        advice="",
    )
