"""Contract: as ``int4_linear``, where the activations have four bits as well.

A layer runs it in place of ``int4_linear`` where its backend has a body of its own for it: that backend's quantization
then hands on four bits in whatever layout the product takes. Here they are int8 within -8..7.
"""

import torch

from quantguard.kernels import int4_linear
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why such weights do not fit into four bits, or None."""
    return int4_linear.unsupported(weights)


def pack(weight: QuantTensor) -> Buffers:
    """Pack as :func:`quantguard.kernels.int4_linear.pack`."""
    return int4_linear.pack(weight)


def apply(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    weight: Buffers,
    bias: torch.Tensor | None,
    *,
    args: QuantArgs,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply and dequantize as :func:`quantguard.kernels.int4_linear.apply`; shapes and dtypes are the same."""
    return int4_linear.apply(x, x_scale, weight, bias, args=args, output_dtype=output_dtype)
