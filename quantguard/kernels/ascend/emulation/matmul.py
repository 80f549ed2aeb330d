"""Emulated matrix products: exact int32 sums, then float32, then one rounding to the output type."""

from collections.abc import Callable
from typing import Any

import torch

from quantguard.errors import KernelError
from quantguard.kernels.ascend.emulation.packing import pack_int32, unpack_int32
from quantguard.kernels.ascend.emulation.refusing import refuse
from quantguard.numerics.quant_param import decode_quant_param, encode_quant_param, truncate_scale

_GROUP = 256
# The numbers that torch has for types, which is what the schema's `int?` holds.
_DTYPES = {None: torch.int8, 1: torch.int8, 3: torch.int32, 5: torch.float16, 15: torch.bfloat16}


def quant_matmul(
    x1: torch.Tensor,
    x2: torch.Tensor,
    scale: torch.Tensor,
    *,
    offset: torch.Tensor | None = None,
    pertoken_scale: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    output_dtype: int | None = None,
    x1_dtype: int | None = None,
    x2_dtype: int | None = None,
    pertoken_scale_dtype: int | None = None,
    scale_dtype: int | None = None,
    group_sizes: list[int] | None = None,
    y_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """W8A8, W4A8 where ``x2`` is packed to int32, or W4A4 where both are."""
    refuse(
        "npu_quant_matmul",
        x1_dtype=x1_dtype,
        x2_dtype=x2_dtype,
        pertoken_scale_dtype=pertoken_scale_dtype,
        scale_dtype=scale_dtype,
        group_sizes=group_sizes,
        y_scale=y_scale,
    )
    if x1.dtype not in (torch.int8, torch.int32) or x1.ndim != 2 or output_dtype not in _DTYPES:
        raise KernelError("npu_quant_matmul is emulated for int8 or packed int4 activations of two dimensions")
    wanted = _DTYPES[output_dtype]
    if x1.dtype == torch.int32:
        refuse("npu_quant_matmul (W4A4)", offset=offset, bias=bias)
        if pertoken_scale is None or x2.dtype != torch.int32:
            raise KernelError("npu_quant_matmul is emulated for int4 activations with a scale a token and int4 weights")
        return _dynamic(multiply(unpack_int32(x1), unpack_int32(x2)), scale, pertoken_scale, None).to(wanted)
    if x2.dtype == torch.int32:
        return _w4a8(x1, x2, scale, offset, pertoken_scale, bias).to(wanted)
    sums = multiply(x1, x2)
    if pertoken_scale is not None:
        refuse("npu_quant_matmul with pertoken_scale", offset=offset)
        return _dynamic(sums, scale, pertoken_scale, bias).to(wanted)
    return _static(sums, scale, offset, bias, wanted)


def multiply(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the exact int32 product of int8 ``[m, k]`` and ``[k, n]``."""
    if x.shape[1] == 1:
        # torch's integer product (2.13) takes a transposed weight of one input for another layout and reads beyond it.
        return x.to(torch.int32) * weight.to(torch.int32)
    return torch._int_mm(x, weight)  # noqa: SLF001 - the only integer matmul that torch has


def _dynamic(
    sums: torch.Tensor, scale: torch.Tensor, pertoken_scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """``(sums + int32 bias) * scale * pertoken_scale``, or a float bias behind the scales."""
    if bias is not None and bias.dtype == torch.int32:
        sums, bias = sums + bias, None
    y = sums.float() * scale.float() * pertoken_scale[:, None]
    return y if bias is None else y + bias.float()


def _static(
    sums: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor | None, bias: torch.Tensor | None, wanted: torch.dtype
) -> torch.Tensor:
    """``(sums + int32 bias) * scale``; the matrix unit's parameter shortens the scale but for bfloat16."""
    if bias is not None and bias.dtype == torch.int32:
        sums, bias = sums + bias, None
    if wanted == torch.int32:
        return sums
    if scale.dtype == torch.int64:
        factors = decode_quant_param(scale)
    else:
        factors = scale.float() if wanted == torch.bfloat16 else truncate_scale(scale)
    y = sums.float() * factors
    if bias is not None:
        y = y + bias.float()
    if wanted == torch.int8:
        y = torch.round(y if offset is None else y + offset.float()).clamp(-128, 127)
    return y.to(wanted)


def _w4a8(
    x: torch.Tensor,
    packed: torch.Tensor,
    scale: torch.Tensor,
    offset: torch.Tensor | None,
    pertoken_scale: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """``(sum over groups of ((x - 8) w) * scale + offset) * pertoken_scale``.

    The device takes x apart into a high nibble and a low one less 8. That it computes so is read from a public test of
    Huawei's, and has to be confirmed on a device.
    """
    refuse("npu_quant_matmul (W4A8)", bias=bias)
    weight, factors = unpack_int32(packed), decode_quant_param(scale)
    y = torch.zeros(x.shape[0], weight.shape[1])
    for group, columns in enumerate(range(0, x.shape[1], _GROUP)):
        part = weight[columns : columns + _GROUP]
        # x - 8 can be -136, which is no int8: eight times the column sums are taken away instead, still in int32.
        sums = multiply(x[:, columns : columns + _GROUP], part) - 8 * part.sum(dim=0, dtype=torch.int32)
        y += sums.float() * factors[group]
    if offset is not None:
        y = y + offset
    return y if pertoken_scale is None else y * pertoken_scale


def weight_quant_batchmatmul(
    x: torch.Tensor,
    weight: torch.Tensor,
    antiquant_scale: torch.Tensor,
    antiquant_offset: torch.Tensor | None = None,
    quant_scale: torch.Tensor | None = None,
    quant_offset: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    antiquant_group_size: int = 0,
    inner_precise: int = 0,
    weight_dtype: int | None = None,
) -> torch.Tensor:
    """``x @ ((w + offset) * scale) + bias``; the weight rounds to the type of ``x`` twice, sums are float32."""
    refuse(
        "npu_weight_quant_batchmatmul",
        quant_scale=quant_scale,
        quant_offset=quant_offset,
        inner_precise=inner_precise,
        weight_dtype=weight_dtype,
    )
    values = (unpack_int32(weight) if weight.dtype == torch.int32 else weight).to(x.dtype)
    scale, offset = (_spread(t, len(values), antiquant_group_size) for t in (antiquant_scale, antiquant_offset))
    assert scale is not None
    values = (values if offset is None else values + offset) * scale
    y = x.float() @ values.float()
    return (y if bias is None else y + bias.float()).to(x.dtype)


def _spread(tensor: torch.Tensor | None, rows: int, group_size: int) -> torch.Tensor | None:
    """Repeat what a group shares for every row of it; one vector holds for all rows."""
    if tensor is None or not group_size:
        return tensor
    return tensor.repeat_interleave(group_size, dim=0)[:rows]


def trans_quant_param(
    scale: torch.Tensor, offset: torch.Tensor | None = None, round_mode: int | None = 0
) -> torch.Tensor:
    """Shorten float32 scales to what the matrix unit takes, as int64."""
    refuse("npu_trans_quant_param", offset=offset, round_mode=round_mode)
    return encode_quant_param(scale)


def convert_weight_to_int4pack(weight: torch.Tensor, inner_k_tiles: int = 0) -> torch.Tensor:
    """Pack eight columns to an int32."""
    refuse("npu_convert_weight_to_int4pack", inner_k_tiles=inner_k_tiles)
    return pack_int32(weight)


KERNELS: dict[str, Callable[..., Any]] = {
    "npu_quant_matmul": quant_matmul,
    "npu_weight_quant_batchmatmul": weight_quant_batchmatmul,
    "npu_trans_quant_param": trans_quant_param,
    "npu_convert_weight_to_int4pack": convert_weight_to_int4pack,
}
