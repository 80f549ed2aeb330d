"""INT8 matmul: on AMX tiles where the CPU has them, else on torch's integer product with one pass over its result."""

import functools
import itertools

import torch

from quantguard.errors import KernelError
from quantguard.kernels.cpu import quantize_per_token, tiled_linear
from quantguard.kernels.cpu.compiled import amx, elementwise
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs

_NO_BIAS = torch.empty(0)
# Of a weight of so many bytes and fewer tokens than that, laying the weight out is more of the work than turning the
# result around.
_LARGE_WEIGHT, _MANY_TOKENS = 1 << 22, 512


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the kernel cannot take such weights, or None."""
    if amx.is_available():
        return tiled_linear.unsupported(weights)
    if weights.strategy != "channel":
        return "its int8_linear takes weights with one scale a channel on a CPU without AMX."
    if not weights.symmetric:
        return "its int8_linear takes symmetric weights."
    return None if product_is_exact() else "torch's int8 product saturates on this CPU, which has no VNNI or its like."


@functools.cache
def product_is_exact() -> bool:
    """Tell whether torch's int8 product adds up in int32: without VNNI, oneDNN adds two products at a time in int16."""
    extremes = itertools.product((1, 16, 63), (64, 256), (127, -128), (127, -128))
    return all(
        (_multiply(torch.full((rows, width), x, dtype=torch.int8), torch.full((32, width), w, dtype=torch.int8)))
        .eq(x * w * width)
        .all()
        for rows, width, x, w in extremes
    )


def pack(weight: QuantTensor) -> Buffers:
    """Lay the int8 weight out in tiles on a CPU with AMX, and leave it as it is elsewhere."""
    if amx.is_available():
        return tiled_linear.pack(weight, nibbles=False)
    return {"data": weight.data, "scale": weight.scale.t().contiguous()}


def apply(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    weight: Buffers,
    bias: torch.Tensor | None,
    *,
    args: QuantArgs,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply and dequantize as the contract says; float16 results are rounded from float32."""
    refuse_integer_bias(bias)
    if amx.is_available():
        return tiled_linear.apply(x, x_scale, weight, bias, args=args, output_dtype=output_dtype)
    return multiply_rows(x, x_scale, weight["data"], weight["scale"], bias, output_dtype=output_dtype)


def quantize_and_apply(
    x: torch.Tensor, weight: Buffers, bias: torch.Tensor | None, *, args: QuantArgs, input_args: QuantArgs
) -> torch.Tensor:
    """Quantize float ``x`` per token and :func:`apply`, the same bits in one call; returns the type of ``x``."""
    refuse_integer_bias(bias)
    if amx.is_available():
        return tiled_linear.quantize_and_apply(x, weight, bias, args=args, input_args=input_args)
    q, scale = quantize_per_token.apply(x, args=input_args)
    return apply(q, scale, weight, bias, args=args, output_dtype=x.dtype)


def refuse_integer_bias(bias: torch.Tensor | None) -> None:
    """Raise KernelError for a bias in steps of the scales."""
    if bias is not None and bias.dtype != torch.float32:
        raise KernelError(
            f"the 'cpu' backend adds a float32 bias, not one of {bias.dtype}; dequantize it, or run on 'reference'"
        )


def multiply_rows(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    data: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply int8 ``[num_tokens, in_features]`` by int8 ``[out_features, in_features]`` without AMX, and dequantize.

    x_scale: float32 ``[num_tokens, 1]``. scale: float32 ``[1, out_features]``.
    """
    # torch's integer product (2.13) takes a transposed weight of one input for another layout.
    sums = x.int() * data.t().int() if x.shape[1] == 1 else _multiply(x, data)
    terms = (sums.numpy(), x_scale.numpy(), scale[0].numpy(), (_NO_BIAS if bias is None else bias).numpy())
    if output_dtype == torch.bfloat16:
        y = torch.empty(sums.shape, dtype=torch.bfloat16)
        elementwise.over_rows(elementwise.dequantize_bf16_rows, *terms, y.view(torch.uint16).numpy())
    else:
        y = torch.empty(sums.shape)
        elementwise.over_rows(elementwise.dequantize_rows, *terms, y.numpy())
    return y.to(output_dtype)


def _multiply(x: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    # oneDNN lays the second factor out anew in each call. It had better be the tokens where they are few, though the
    # result is turned around then.
    if len(x) == 1 or (len(x) < _MANY_TOKENS and data.numel() >= _LARGE_WEIGHT):
        return torch._int_mm(data, x.t()).t().contiguous()  # noqa: SLF001 - torch's only integer product
    return torch._int_mm(x, data.t())  # noqa: SLF001 - as above
