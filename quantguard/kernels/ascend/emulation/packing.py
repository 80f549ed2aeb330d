"""Eight 4-bit integers in an int32: column ``8 i + j`` in the bits ``4 j`` to ``4 j + 3``."""

import torch

from quantguard.numerics import unpack_int4

_SHIFTS = torch.arange(0, 32, 4)


def pack_int32(values: torch.Tensor) -> torch.Tensor:
    """Pack integers ``[..., columns]`` to int32 ``[..., columns / 8]``; of each its four lowest bits."""
    nibbles: torch.Tensor = values.to(torch.int64).unflatten(-1, (-1, 8)) & 0xF
    # Above the sign bit of int32 the sum wraps, as the bits themselves do.
    return (nibbles << _SHIFTS).sum(dim=-1).to(torch.int32)


def unpack_int32(packed: torch.Tensor) -> torch.Tensor:
    """Unpack int32 ``[..., columns]`` to int8 ``[..., 8 * columns]`` within -8..7."""
    nibbles = unpack_int4(packed.contiguous().view(torch.uint8).flatten(0, -2), 8 * packed.shape[-1])
    return nibbles.view(*packed.shape[:-1], -1)
