"""The schemas of the vendor's operations that the backend calls, as torch_npu 2.13.0 registers them, word for word."""

import re
from collections.abc import Iterable

SCHEMAS = {
    "npu_quant_matmul": (
        "npu_quant_matmul(Tensor x1, Tensor x2, Tensor scale, *, Tensor? offset=None, "
        "Tensor? pertoken_scale=None, Tensor? bias=None, int? output_dtype=None, int? x1_dtype=None, "
        "int? x2_dtype=None, int? pertoken_scale_dtype=None, int? scale_dtype=None, int[]? group_sizes=None, "
        "Tensor? y_scale=None) -> Tensor"
    ),
    "npu_dynamic_quant": (
        "npu_dynamic_quant(Tensor input, *, Tensor? smooth_scales=None, Tensor? group_index=None, "
        'int? dst_type=None, str quant_mode="pertoken", float dst_type_max=0.) -> (Tensor, Tensor)'
    ),
    "npu_dynamic_quant_asymmetric": (
        "npu_dynamic_quant_asymmetric(Tensor input, *, Tensor? smooth_scales=None, Tensor? group_index=None, "
        'int? dst_type=None, str quant_mode="pertoken", float dst_type_max=0.) -> (Tensor, Tensor, Tensor)'
    ),
    "npu_quantize": (
        "npu_quantize(Tensor input, Tensor scales, Tensor? zero_points, int dtype, int axis=1, "
        "bool div_mode=True) -> Tensor"
    ),
    "npu_weight_quant_batchmatmul": (
        "npu_weight_quant_batchmatmul(Tensor x, Tensor weight, Tensor antiquant_scale, "
        "Tensor? antiquant_offset=None, Tensor? quant_scale=None, Tensor? quant_offset=None, "
        "Tensor? bias=None, int antiquant_group_size=0, int inner_precise=0, "
        "int? weight_dtype=None) -> Tensor"
    ),
    "npu_convert_weight_to_int4pack": ("npu_convert_weight_to_int4pack(Tensor weight, int inner_k_tiles=0) -> Tensor"),
    "npu_trans_quant_param": ("npu_trans_quant_param(Tensor scale, Tensor? offset=None, int? round_mode=0) -> Tensor"),
    "npu_kronecker_quant": (
        "npu_kronecker_quant(Tensor x, Tensor kronecker_p1, Tensor kronecker_p2, float? clip_ratio=None, "
        "int? dst_dtype=None, float? dst_type_max=None) -> (Tensor out, Tensor quant_scale)"
    ),
    "npu_rotate_quant": (
        "npu_rotate_quant(Tensor x, Tensor rotation, *, Tensor? alpha=None, int? dst_dtype=None, "
        'int? axis=-1, str? round_mode="rint", int? scale_alg=0, float? dst_type_max=0., '
        "bool? transpose_y=False) -> (Tensor, Tensor)"
    ),
    "npu_fused_infer_attention_score": (
        "npu_fused_infer_attention_score(Tensor query, Tensor key, Tensor value, *, Tensor? pse_shift=None, "
        "Tensor? atten_mask=None, SymInt[]? actual_seq_lengths=None, SymInt[]? actual_seq_lengths_kv=None, "
        "Tensor? dequant_scale1=None, Tensor? quant_scale1=None, Tensor? dequant_scale2=None, "
        "Tensor? quant_scale2=None, Tensor? quant_offset2=None, Tensor? antiquant_scale=None, "
        "Tensor? antiquant_offset=None, Tensor? key_antiquant_scale=None, Tensor? key_antiquant_offset=None, "
        "Tensor? value_antiquant_scale=None, Tensor? value_antiquant_offset=None, Tensor? block_table=None, "
        "Tensor? query_padding_size=None, Tensor? kv_padding_size=None, Tensor? key_shared_prefix=None, "
        "Tensor? value_shared_prefix=None, SymInt[]? actual_shared_prefix_len=None, Tensor? query_rope=None, "
        "Tensor? key_rope=None, Tensor? key_rope_antiquant_scale=None, int num_heads=1, float scale=1., "
        'int pre_tokens=2147483647, int next_tokens=2147483647, str input_layout="BSH", '
        "int num_key_value_heads=0, int sparse_mode=0, int inner_precise=0, int block_size=0, "
        "int antiquant_mode=0, int key_antiquant_mode=0, int value_antiquant_mode=0, "
        "bool softmax_lse_flag=False) -> (Tensor, Tensor)"
    ),
}

# What the backend passes to each of them. An installed torch_npu is asked for these, never for its version.
PASSED = {
    "npu_quant_matmul": ("x1", "x2", "scale", "offset", "pertoken_scale", "bias", "output_dtype"),
    "npu_dynamic_quant": ("input", "smooth_scales", "dst_type"),
    "npu_dynamic_quant_asymmetric": ("input", "dst_type"),
    "npu_quantize": ("input", "scales", "zero_points", "dtype", "axis", "div_mode"),
    "npu_weight_quant_batchmatmul": (
        "x",
        "weight",
        "antiquant_scale",
        "antiquant_offset",
        "bias",
        "antiquant_group_size",
    ),
    "npu_convert_weight_to_int4pack": ("weight",),
    "npu_trans_quant_param": ("scale", "round_mode"),
    "npu_kronecker_quant": ("x", "kronecker_p1", "kronecker_p2", "clip_ratio", "dst_dtype"),
    "npu_rotate_quant": ("x", "rotation", "dst_dtype"),
    "npu_fused_infer_attention_score": (
        "query",
        "key",
        "value",
        "atten_mask",
        "key_antiquant_scale",
        "key_antiquant_offset",
        "value_antiquant_scale",
        "value_antiquant_offset",
        "num_heads",
        "scale",
        "input_layout",
        "num_key_value_heads",
        "key_antiquant_mode",
        "value_antiquant_mode",
    ),
}


def arguments(schema: str) -> list[str]:
    """List the arguments of a schema in their order."""
    inside = schema.partition("(")[2].rpartition(" -> ")[0].rstrip(")")
    return [found.split("=")[0].split()[-1] for found in re.split(r",\s*", inside) if found != "*"]


def lacking(op: str, present: Iterable[str]) -> list[str]:
    """List what the backend passes to an operation and a release's schema does not have."""
    return [name for name in PASSED[op] if name not in set(present)]
