"""Contract: as ``int8_linear``, with weights of at most four bits kept two to a byte."""

import torch

from quantguard.kernels import int8_linear
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor, pack_int4, unpack_int4
from quantguard.records import QuantArgs


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why such weights do not fit into four bits, or None."""
    return None if weights.num_bits <= 4 else f"{weights.num_bits}-bit weights do not fit into int4"


def pack(weight: QuantTensor) -> Buffers:
    """Pack the data to uint8 ``[out_features, ceil(in_features / 2)]``; scales and zero points stay."""
    return {**int8_linear.pack(weight), "data": pack_int4(weight.data)}


def apply(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    weight: Buffers,
    bias: torch.Tensor | None,
    *,
    args: QuantArgs,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Unpack, then do as :func:`quantguard.kernels.int8_linear.apply`; shapes and dtypes are the same."""
    unpacked = {**weight, "data": unpack_int4(weight["data"], x.shape[1])}
    return int8_linear.apply(x, x_scale, unpacked, bias, args=args, output_dtype=output_dtype)
