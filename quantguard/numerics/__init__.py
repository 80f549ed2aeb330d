"""Reference arithmetic in plain torch: affine quantization of weights and activations, int4 packing, the KV cache."""

from quantguard.numerics.affine import (
    FakeQuantTensor,
    QuantTensor,
    choose_group_scales,
    choose_scale,
    dequantize,
    group_slices,
    quantize_columns,
    quantize_tokens,
    round_to_nearest,
    split_rows,
)
from quantguard.numerics.clipping import choose_clipped_scale
from quantguard.numerics.int4 import pack_int4, unpack_int4
from quantguard.numerics.kv import KVQuantizer, static_kv_quantizer
from quantguard.numerics.straight_through import fake_quantize

__all__ = [
    "FakeQuantTensor",
    "KVQuantizer",
    "QuantTensor",
    "choose_clipped_scale",
    "choose_group_scales",
    "choose_scale",
    "dequantize",
    "fake_quantize",
    "group_slices",
    "pack_int4",
    "quantize_columns",
    "quantize_tokens",
    "round_to_nearest",
    "split_rows",
    "static_kv_quantizer",
    "unpack_int4",
]
