"""Reference arithmetic in plain torch: affine quantization of weights and activations, and int4 packing."""

from quantguard.numerics.affine import (
    QuantTensor,
    choose_scale,
    dequantize,
    group_slices,
    quantize_columns,
    quantize_tokens,
)
from quantguard.numerics.int4 import pack_int4, unpack_int4

__all__ = [
    "QuantTensor",
    "choose_scale",
    "dequantize",
    "group_slices",
    "pack_int4",
    "quantize_columns",
    "quantize_tokens",
    "unpack_int4",
]
