"""Right calls of everything that the backend asks of the vendor, and wrong ones."""

from typing import Any

import torch


def good() -> dict[str, Any]:
    """Return the arguments of a right call of each function, to be spoilt one at a time."""
    i8 = torch.int8
    x, w = torch.ones(5, 512, dtype=i8), torch.ones(512, 64, dtype=i8)
    h = torch.ones(5, 512, dtype=torch.float16)
    token, channel = torch.ones(5), torch.ones(64)
    group = torch.ones(2, 64, dtype=torch.int64)
    cache = torch.zeros(2, 2, 9, 16, dtype=i8)
    return {
        "dynamic_quant": {"x": h, "num_bits": 8, "smooth_scales": torch.ones(512, dtype=h.dtype)},
        "dynamic_quant_asymmetric": {"x": h, "num_bits": 8},
        "quantize": {"x": h, "scale": torch.ones(512)},
        "quant_matmul": {
            "x": x,
            "weight": w,
            "scale": channel,
            "pertoken_scale": token,
            "bias": None,
            "output_dtype": torch.float16,
        },
        "quant_matmul_static": {
            "x": x,
            "weight": w,
            "scale": channel.to(torch.int64),
            "bias": None,
            "output_dtype": torch.float16,
        },
        "quant_matmul_w4a8": {
            "x": x,
            "packed": torch.ones(512, 8, dtype=torch.int32),
            "scale": group,
            "offset": channel,
            "pertoken_scale": token[:, None],
            "output_dtype": torch.float16,
        },
        "quant_matmul_w4a4": {
            "x": torch.ones(5, 64, dtype=torch.int32),
            "packed": torch.ones(512, 8, dtype=torch.int32),
            "scale": channel,
            "pertoken_scale": token,
            "output_dtype": torch.float16,
        },
        "weight_quant_matmul": {
            "x": h,
            "weight": w,
            "scale": torch.ones(4, 64, dtype=h.dtype),
            "offset": None,
            "bias": None,
            "group_size": 128,
        },
        "convert_weight_to_int4pack": {"weight": w},
        "trans_quant_param": {"scale": channel},
        "kronecker_quant": {
            "x": torch.ones(5, 4, 16, dtype=h.dtype),
            "left": torch.eye(4, dtype=h.dtype),
            "right": torch.eye(16, dtype=h.dtype),
            "clip_ratio": 1.0,
        },
        "rotate_quant": {"x": h, "rotation": torch.eye(64, dtype=h.dtype)},
        "attention_int8": {
            "query": torch.ones(2, 4, 1, 16).half(),
            "cache": (cache, cache),
            "scales": (torch.ones(2, 2, 9),) * 2,
            "offsets": (torch.ones(2, 2, 9),) * 2,
            "hidden": torch.zeros(2, 1, 1, 9, dtype=torch.bool),
            "softmax_scale": 1.0,
        },
    }


def spoil(function: str, **changes: Any) -> tuple[str, dict[str, Any]]:
    return function, changes


# What torch_npu 2.13.0 takes in its meta kernels and in its host code alike, though it is wrong.
ACCEPTED_BY_THE_VENDOR = {
    "a token scale one too long": spoil("quant_matmul", pertoken_scale=torch.ones(6)),
    "a token scale of float16": spoil("quant_matmul", pertoken_scale=torch.ones(5).half()),
    "activations of float16 where int8 is meant": spoil("quant_matmul", x=torch.ones(5, 512).half()),
    "a weight scale of float16": spoil("quant_matmul", scale=torch.ones(64).half()),
    "smoothing of the wrong length": spoil("dynamic_quant", smooth_scales=torch.ones(511).half()),
    "activations of float32": spoil("dynamic_quant", x=torch.ones(5, 512)),
    "a tensor scale of the wrong length": spoil("quantize", scale=torch.ones(3)),
    "a wrong number of groups": spoil("weight_quant_matmul", scale=torch.ones(3, 64).half()),
    "a group scale of float32": spoil("weight_quant_matmul", scale=torch.ones(4, 64)),
    "int8 activations of a float product": spoil("weight_quant_matmul", x=torch.ones(5, 512, dtype=torch.int8)),
    "a parameter made from float16": spoil("trans_quant_param", scale=torch.ones(64).half()),
    "a left factor of the wrong size": spoil("kronecker_quant", left=torch.eye(5).half()),
    "a rotation that does not divide the row": spoil("rotate_quant", rotation=torch.eye(48).half()),
    "a token scale of W4A4 one too long": spoil("quant_matmul_w4a4", pertoken_scale=torch.ones(6)),
    "keys of int8 without a scale": spoil("attention_int8", scales=(torch.ones(0, 0, 0), torch.ones(2, 2, 9))),
    "an offset of another length than the scale": spoil("attention_int8", offsets=(torch.ones(2, 2, 8),) * 2),
    "a mask for another number of tokens": spoil("attention_int8", hidden=torch.zeros(2, 1, 1, 8, dtype=torch.bool)),
    "values of another shape than keys": spoil(
        "attention_int8",
        cache=(torch.zeros(2, 2, 9, 16, dtype=torch.int8), torch.zeros(2, 2, 8, 16, dtype=torch.int8)),
    ),
    "no offset in W4A8, an empty one": spoil("quant_matmul_w4a8", offset=torch.ones(0)),
    "a channel scale for W4A8 in groups of 128": spoil("quant_matmul_w4a8", scale=torch.ones(4, 64).long()),
    "int4 out of range": spoil("convert_weight_to_int4pack", weight=torch.full((8, 8), 9, dtype=torch.int8)),
}

# What torch_npu's meta kernels do refuse.
REFUSED_BY_THE_VENDOR = {
    "a weight of other inputs": spoil("quant_matmul", weight=torch.ones(520, 64, dtype=torch.int8)),
    "a channel scale one too short": spoil("quant_matmul", scale=torch.ones(63)),
    "a channel scale of two dimensions": spoil("quant_matmul", scale=torch.ones(1, 64)),
    "a token scale of two dimensions": spoil("quant_matmul", pertoken_scale=torch.ones(5, 1)),
    "an output of int64": spoil("quant_matmul", output_dtype=torch.int64),
    "a W4A8 scale of float32": spoil("quant_matmul_w4a8", scale=torch.ones(2, 64)),
    "a W4A8 scale a channel": spoil("quant_matmul_w4a8", scale=torch.ones(64, dtype=torch.int64)),
    "a W4A8 token scale of one dimension": spoil("quant_matmul_w4a8", pertoken_scale=torch.ones(5)),
    "a W4A8 output of float32": spoil("quant_matmul_w4a8", output_dtype=torch.float32),
    "a W4A8 offset of two dimensions": spoil("quant_matmul_w4a8", offset=torch.ones(1, 64)),
    "a right factor that int32 does not hold": spoil(
        "kronecker_quant", x=torch.ones(5, 4, 12).half(), right=torch.eye(12).half()
    ),
}
