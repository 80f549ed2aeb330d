"""Two 4-bit integers in a byte: the even column in the low nibble, the odd column in the high one."""

import torch

from quantguard.errors import KernelError


def pack_int4(values: torch.Tensor) -> torch.Tensor:
    """Pack int8 ``[rows, columns]``, -8..7, to uint8 ``[rows, ceil(columns / 2)]``; an odd end is padded with 0."""
    if values.dtype != torch.int8 or values.amin() < -8 or values.amax() > 7:
        raise KernelError("int4 packing takes int8 values from -8 to 7")
    padded = torch.nn.functional.pad(values, (0, values.shape[1] % 2))
    low, high = padded[:, 0::2] & 0xF, padded[:, 1::2] & 0xF
    return (low | (high << 4)).view(torch.uint8)


def unpack_int4(packed: torch.Tensor, columns: int) -> torch.Tensor:
    """Unpack uint8 ``[rows, ceil(columns / 2)]`` to int8 ``[rows, columns]`` within -8..7."""
    signed = packed.view(torch.int8)
    # Shifting left and back right copies the sign bit of the low nibble.
    both = torch.stack(((signed << 4) >> 4, signed >> 4), dim=-1)
    return both.flatten(1)[:, :columns]
