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
# What the vendor calls the integers of so many bits.
_INTEGERS = {8: torch.int8, 4: torch.quint4x2}
# How the vendor numbers scales a channel, and scales a token and head.
_PER_CHANNEL, _PER_TOKEN_AND_HEAD = 0, 3


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


def dynamic_quant(
    x: torch.Tensor, *, num_bits: int = 8, smooth_scales: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize float16 or bfloat16 ``[num_tokens, width]`` to int8 with float32 scales ``[num_tokens]``.

    With ``num_bits`` 4 eight integers go into an int32: ``[num_tokens, width / 8]``.
    """
    _check_dynamic("npu_dynamic_quant", x, num_bits, smooth_scales)
    q, scale = _call("npu_dynamic_quant", input=x, smooth_scales=smooth_scales, dst_type=_INTEGERS[num_bits])
    return q, scale


def dynamic_quant_asymmetric(x: torch.Tensor, *, num_bits: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As :func:`dynamic_quant`, with float32 offsets ``[num_tokens]``: ``x = (q - offset) * scale``."""
    _check_dynamic("npu_dynamic_quant_asymmetric", x, num_bits, None)
    q, scale, offset = _call("npu_dynamic_quant_asymmetric", input=x, dst_type=_INTEGERS[num_bits])
    return q, scale, offset


def _check_dynamic(op: str, x: torch.Tensor, num_bits: int, smooth_scales: torch.Tensor | None) -> None:
    checks.activations(op, x)
    checks.one_of(op, "num_bits", num_bits, *_INTEGERS)
    if num_bits == 4:
        checks.whole_int32(op, x.shape[1])
    if smooth_scales is not None:
        checks.vector(op, "smooth_scales", smooth_scales, x.shape[1], x.dtype)


def quantize(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Quantize float16 or bfloat16 ``[num_tokens, width]`` to int8; float32 scales, ``[1]`` or ``[width]``."""
    op = "npu_quantize"
    checks.activations(op, x)
    checks.vector(op, "scale", scale, 1 if scale.numel() == 1 else x.shape[1], torch.float32)
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


def quant_matmul_w4a4(
    x: torch.Tensor,
    packed: torch.Tensor,
    scale: torch.Tensor,
    *,
    pertoken_scale: torch.Tensor,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply int4 by int4, eight to an int32: ``[num_tokens, k / 8]`` by ``[k, n / 8]``; no bias.

    scale: float32 ``[n]``. pertoken_scale: float32 ``[num_tokens]``.
    """
    op = "npu_quant_matmul (W4A4)"
    checks.integers(op, x, torch.int32)
    checks.integers(op, packed, torch.int32)
    k, n = packed.shape[0], packed.shape[1] * INT4_IN_INT32
    need(
        op,
        holds=x.shape[1] * INT4_IN_INT32 == k and 0 < k <= checks.LONGEST_SIDE and 0 < n <= checks.LONGEST_SIDE,
        found=f"activations of width {x.shape[1] * INT4_IN_INT32} and a weight of {k} inputs and {n} outputs",
        possible=f"the same number of inputs, up to {checks.LONGEST_SIDE} inputs and outputs",
        advice="",
    )
    checks.output_dtype(op, output_dtype)
    checks.vector(op, "scale", scale, n, torch.float32)
    checks.vector(op, "pertoken_scale", pertoken_scale, x.shape[0], torch.float32)
    return _call(  # type: ignore[no-any-return]
        "npu_quant_matmul",
        x1=x.contiguous(),
        x2=packed,
        scale=scale,
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
    checks.whole_int32(op, weight.shape[1])
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


def attention_int8(
    query: torch.Tensor,
    cache: tuple[torch.Tensor, torch.Tensor],
    scales: tuple[torch.Tensor, torch.Tensor],
    offsets: tuple[torch.Tensor, torch.Tensor] | None,
    hidden: torch.Tensor | None,
    *,
    softmax_scale: float,
) -> torch.Tensor:
    """Attend from one query a sequence, ``[batch, heads, 1, head_dim]``, to int8 keys and values.

    cache: ``[batch, key_heads, tokens, head_dim]`` each.
    scales: in the query's type ``[1, key_heads, 1, head_dim]`` each, or float32 ``[batch, key_heads, tokens]``; offsets
    of the same shape and type are added to the integers. hidden: bool ``[batch, 1, 1, tokens]``, true where a token is
    not seen. Without the scales no check of the vendor's complains.
    """
    op = "npu_fused_infer_attention_score"
    cache_checks.attention(op, query, cache, scales=scales, offsets=offsets, hidden=hidden)
    mode = _PER_CHANNEL if scales[0].ndim == 4 else _PER_TOKEN_AND_HEAD
    key_offset, value_offset = (None, None) if offsets is None else offsets
    y, _ = _call(
        op,
        query=query,
        key=cache[0],
        value=cache[1],
        atten_mask=hidden,
        key_antiquant_scale=scales[0],
        key_antiquant_offset=key_offset,
        value_antiquant_scale=scales[1],
        value_antiquant_offset=value_offset,
        key_antiquant_mode=mode,
        value_antiquant_mode=mode,
        num_heads=query.shape[1],
        num_key_value_heads=cache[0].shape[1],
        scale=softmax_scale,
        input_layout="BNSD",
    )
    return y  # type: ignore[no-any-return]
