"""The 64-bit quantization parameter of Ascend's matrix unit, which keeps 10 bits of a scale's mantissa.

``npu_trans_quant_param`` with ``round_mode=0``: the scale's float32 bits, the lowest 13 cleared, and bit 46 set. Bits
from Huawei's public ops-nn sources; not observed on a device.
"""

import torch

_KEPT_BITS = 0xFFFFE000
_MARK = 1 << 46


def truncate_scale(scale: torch.Tensor) -> torch.Tensor:
    """Return float32 scales without the 13 lowest bits of their mantissa: at most ``2^-10`` of each is lost."""
    return decode_quant_param(encode_quant_param(scale))


def encode_quant_param(scale: torch.Tensor) -> torch.Tensor:
    """Return the int64 parameter of float32 scales, in their shape."""
    bits = scale.float().contiguous().view(torch.int32).to(torch.int64) & _KEPT_BITS
    return bits | _MARK


def decode_quant_param(parameter: torch.Tensor) -> torch.Tensor:
    """Return the float32 scales that int64 parameters stand for, in their shape."""
    # A negative int32 is the same bits as its unsigned twin; the cast from int64 wraps to it.
    return (parameter & _KEPT_BITS).to(torch.int32).view(torch.float32)
