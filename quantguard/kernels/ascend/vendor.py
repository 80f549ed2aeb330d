"""The one module that calls the vendor: keyword arguments only, two dimensions, an explicit output type.

Each function checks first what the operation would take although it is wrong (:mod:`quantguard.kernels.ascend.checks`),
then calls ``torch.ops.npu``: torch_npu's kernels on an NPU, ours on the emulated one.
"""

from typing import Any

import torch

from quantguard.kernels.ascend import cache_checks, checks, rotation_checks
from quantguard.kernels.ascend.checks import need
from quantguard.kernels.ascend.schemas import lacking

W4A8_GROUP = 256
W4A8_LONGEST = 29576
INT4_IN_INT32 = 8


def unavailable(*ops: str) -> str | None:
    """Give the reason why one of these operations cannot be called as we call it, or None; goes by its schema.

    Versions do not tell: torch_npu 2.9.1 lacks operations that 2.7.1.post11 has.
    """
    for op in ops:
        packet = getattr(torch.ops.npu, op, None)
        if packet is None:
            return f"there is no {op}. Load the model with device='npu:0', or with 'emulated-910b' for an emulated one."
        present = [argument.name for argument in packet.default._schema.arguments]  # noqa: SLF001 - torch's only way
        if missing := lacking(op, present):
            return f"this torch_npu's {op} has no {', '.join(missing)}: upgrade torch_npu."
    return None


def _call(op: str, **given: Any) -> Any:
    return getattr(torch.ops.npu, op)(**given)


def dynamic_quant(x: torch.Tensor, *, smooth_scales: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize float16 or bfloat16 ``[num_tokens, width]`` to int8 with float32 scales ``[num_tokens]``."""
    _check_dynamic("npu_dynamic_quant", x, smooth_scales)
    q, scale = _call("npu_dynamic_quant", input=x, smooth_scales=smooth_scales, dst_type=torch.int8)
    return q, scale


def dynamic_quant_asymmetric(
    x: torch.Tensor, *, smooth_scales: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As :func:`dynamic_quant`, with float32 offsets ``[num_tokens]``: ``x = (q - offset) * scale``."""
    _check_dynamic("npu_dynamic_quant_asymmetric", x, smooth_scales)
    q, scale, offset = _call("npu_dynamic_quant_asymmetric", input=x, smooth_scales=smooth_scales, dst_type=torch.int8)
    return q, scale, offset


def _check_dynamic(op: str, x: torch.Tensor, smooth_scales: torch.Tensor | None) -> None:
    checks.activations(op, x)
    if smooth_scales is not None:
        checks.vector(op, "smooth_scales", smooth_scales, x.shape[1], x.dtype)


def quantize(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Quantize float16 or bfloat16 ``[num_tokens, width]`` to int8 with one float32 scale ``[1]``."""
    op = "npu_quantize"
    checks.activations(op, x)
    checks.vector(op, "scale", scale, 1, torch.float32)
    return _call(op, input=x, scales=scale, zero_points=None, dtype=torch.qint8, axis=1, div_mode=True)  # type: ignore[no-any-return]


def quant_matmul(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor,
    *,
    pertoken_scale: torch.Tensor,
    bias: torch.Tensor | None,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply int8 ``[num_tokens, k]`` by int8 ``[k, n]``; float32 scales ``[n]`` and ``[num_tokens]``.

    bias: int32 or float32 ``[n]``, or absent.
    """
    op = "npu_quant_matmul"
    _check_int8_matmul(op, x, weight, output_dtype)
    checks.vector(op, "scale", scale, weight.shape[1], torch.float32)
    checks.vector(op, "pertoken_scale", pertoken_scale, x.shape[0], torch.float32)
    if bias is not None:
        checks.vector(op, "bias", bias, weight.shape[1], torch.int32, torch.float32)
    return _call(  # type: ignore[no-any-return]
        op, x1=x, x2=weight, scale=scale, pertoken_scale=pertoken_scale, bias=bias, output_dtype=output_dtype
    )


def quant_matmul_static(
    x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, *, bias: torch.Tensor | None, output_dtype: torch.dtype
) -> torch.Tensor:
    """Multiply int8 ``[num_tokens, k]`` by int8 ``[k, n]``, scaled ``[n]``: int64 for float16, float32 for bfloat16.

    bias: int32 ``[n]``, or absent.
    """
    op = "npu_quant_matmul"
    _check_int8_matmul(op, x, weight, output_dtype)
    wanted = torch.int64 if output_dtype == torch.float16 else torch.float32
    checks.vector(op, "scale", scale, weight.shape[1], wanted)
    if bias is not None:
        checks.vector(op, "bias", bias, weight.shape[1], torch.int32)
    return _call(op, x1=x, x2=weight, scale=scale, bias=bias, output_dtype=output_dtype)  # type: ignore[no-any-return]


def _check_int8_matmul(op: str, x: torch.Tensor, weight: torch.Tensor, output_dtype: torch.dtype) -> None:
    checks.integers(op, x)
    checks.integers(op, weight)
    checks.inner_sides(op, x, *weight.shape)
    checks.output_dtype(op, output_dtype)


def quant_matmul_w4a8(
    x: torch.Tensor,
    packed: torch.Tensor,
    scale: torch.Tensor,
    *,
    offset: torch.Tensor,
    pertoken_scale: torch.Tensor,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply int8 ``[num_tokens, k]`` by int4 packed to int32 ``[k, n / 8]``.

    scale: int64 ``[k / 256, n]``, from :func:`trans_quant_param`. offset: float32 ``[n]``, ``8 * sum_k(w * scale)``:
    the operation multiplies with ``x - 8``, and no check of the vendor's notices where it is absent. pertoken_scale:
    float32 ``[num_tokens, 1]``. There is no bias.
    """
    op = "npu_quant_matmul (W4A8)"
    checks.integers(op, x)
    checks.integers(op, packed, torch.int32)
    k, n = packed.shape[0], packed.shape[1] * INT4_IN_INT32
    checks.inner_sides(op, x, k, n)
    checks.output_dtype(op, output_dtype)
    need(
        op,
        holds=k % W4A8_GROUP == 0 and k < W4A8_LONGEST,
        found=f"{k} inputs",
        possible=f"a multiple of {W4A8_GROUP} below {W4A8_LONGEST}",
        advice="int4_linear.pack() pads to it.",
    )
    checks.dtype(op, "scale", scale, torch.int64)
    checks.shape(op, "scale", scale, (k // W4A8_GROUP, n))
    checks.vector(op, "offset", offset, n, torch.float32)
    checks.dtype(op, "pertoken_scale", pertoken_scale, torch.float32)
    checks.shape(op, "pertoken_scale", pertoken_scale, (x.shape[0], 1))
    return _call(  # type: ignore[no-any-return]
        "npu_quant_matmul",
        x1=x,
        x2=packed,
        scale=scale,
        offset=offset,
        pertoken_scale=pertoken_scale,
        output_dtype=output_dtype,
    )


def trans_quant_param(scale: torch.Tensor) -> torch.Tensor:
    """Turn float32 scales ``[n]`` into int64 parameters of the matrix unit, with 10 bits of each mantissa."""
    op = "npu_trans_quant_param"
    checks.vector(op, "scale", scale, scale.numel(), torch.float32)
    return _call(op, scale=scale, round_mode=0)  # type: ignore[no-any-return]


def convert_weight_to_int4pack(weight: torch.Tensor) -> torch.Tensor:
    """Pack int8 ``[k, n]``, values -8..7, eight columns to an int32: ``[k, n / 8]``."""
    op = "npu_convert_weight_to_int4pack"
    checks.integers(op, weight)
    need(
        op,
        holds=weight.shape[1] % INT4_IN_INT32 == 0,
        found=f"{weight.shape[1]} columns",
        possible=f"a multiple of {INT4_IN_INT32}",
        advice="Pad them with zeros.",
    )
    low, high = int(weight.amin()), int(weight.amax())
    need(op, holds=low >= -8 and high <= 7, found=f"values from {low} to {high}", possible="-8 to 7", advice="")
    return _call(op, weight=weight.to(torch.int32).contiguous())  # type: ignore[no-any-return]


def weight_quant_matmul(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor,
    *,
    offset: torch.Tensor | None,
    bias: torch.Tensor | None,
    group_size: int,
) -> torch.Tensor:
    """Multiply float16 or bfloat16 ``[num_tokens, k]`` by int8 ``[k, n]`` or int4 packed to int32 ``[k, n / 8]``.

    scale, offset: the type of ``x``, ``[n]`` or, with groups, ``[ceil(k / group_size), n]``; the offset is added to the
    integers, so it is minus the zero point. bias: float32 with bfloat16, float16 with float16. ``group_size`` 0 is
    one scale a channel.
    """
    op = "npu_weight_quant_batchmatmul"
    checks.activations(op, x)
    packed = weight.dtype == torch.int32
    checks.integers(op, weight, torch.int32 if packed else torch.int8)
    k, n = weight.shape[0], weight.shape[1] * (INT4_IN_INT32 if packed else 1)
    checks.inner_sides(op, x, k, n)
    need(
        op,
        holds=group_size == 0 or (group_size % 32 == 0 and 32 <= group_size < k),
        found=f"groups of {group_size} in {k} inputs",
        possible="0 for none, or a multiple of 32 from 32 to k - 1",
        advice="Set group_size to 32, 64 or 128 in the recipe.",
    )
    expected = (-(-k // group_size), n) if group_size else (n,)
    for what, tensor in (("scale", scale), ("offset", offset)):
        if tensor is not None:
            checks.dtype(op, what, tensor, x.dtype)
            checks.shape(op, what, tensor, expected)
    if bias is not None:
        checks.vector(op, "bias", bias, n, torch.float32 if x.dtype == torch.bfloat16 else torch.float16)
    return _call(  # type: ignore[no-any-return]
        op,
        x=x,
        weight=weight,
        antiquant_scale=scale,
        antiquant_offset=offset,
        bias=bias,
        antiquant_group_size=group_size,
    )


def rotate_quant(x: torch.Tensor, rotation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate blocks of each row by ``rotation`` ``[b, b]``; return int8 and float32 scales ``[num_tokens]``."""
    op = "npu_rotate_quant"
    rotation_checks.block(op, x, rotation)
    q, scale = _call(op, x=x, rotation=rotation, dst_dtype=torch.int8)
    return q, scale


def kronecker_quant(
    x: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, clip_ratio: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``left x right`` of ``[tokens, m, n]`` as int4 in int32 ``[tokens, m, n / 8]``, scales ``[tokens]``."""
    op = "npu_kronecker_quant"
    rotation_checks.kronecker(op, x, left, right, clip_ratio)
    q, scale = _call(op, x=x, kronecker_p1=left, kronecker_p2=right, clip_ratio=clip_ratio, dst_dtype=torch.int32)
    return q, scale


def quant_scatter_(cache: torch.Tensor, positions: torch.Tensor, new: torch.Tensor, scale: torch.Tensor) -> None:
    """Quantize ``[batch, n, width]`` with float32 scales ``[width]`` into an int8 cache from positions on."""
    op = "npu_quant_scatter_"
    cache_checks.write(op, cache, positions, new, scale)
    _call(
        op,
        input=cache,
        indices=positions,
        updates=new,
        quant_scales=scale.view(1, 1, -1),
        axis=-2,
        quant_axis=-1,
        reduce="update",
    )


def attention_int8(
    query: torch.Tensor,
    cache: tuple[torch.Tensor, torch.Tensor],
    scales: tuple[torch.Tensor, torch.Tensor],
    lengths: list[int],
    *,
    num_heads: int,
    num_key_value_heads: int,
    softmax_scale: float,
) -> torch.Tensor:
    """Attend from one query a sequence, ``[batch, 1, width]``, to int8 keys and values; scales ``[1, width]`` each.

    Without the scales no check of the vendor's complains.
    """
    op = "npu_fused_infer_attention_score"
    cache_checks.attention(
        op, query, cache, scales, lengths, num_heads=num_heads, num_key_value_heads=num_key_value_heads
    )
    y, _ = _call(
        op,
        query=query,
        key=cache[0],
        value=cache[1],
        actual_seq_lengths_kv=lengths,
        key_antiquant_scale=scales[0],
        value_antiquant_scale=scales[1],
        key_antiquant_mode=0,
        value_antiquant_mode=0,
        num_heads=num_heads,
        num_key_value_heads=num_key_value_heads,
        scale=softmax_scale,
        input_layout="BSH",
    )
    return y  # type: ignore[no-any-return]
