"""INT8 matmul on the CPU's integer dot products, dequantized in one pass over the result."""

import functools

import torch

from quantguard.errors import KernelError
from quantguard.kernels.cpu import elementwise
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs

_NO_BIAS = torch.empty(0)


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the kernel cannot take such weights, or None."""
    if weights.strategy != "channel":
        return "its int8_linear takes weights with one scale a channel."
    return None if weights.symmetric else "its int8_linear takes symmetric weights."


def pack(weight: QuantTensor) -> Buffers:
    """Lay the int8 weight out for the matmul: oneDNN's blocked layout where the CPU has AMX, as it is elsewhere."""
    return {"data": lay_out(weight.data), "scale": weight.scale.flatten()}


def lay_out(data: torch.Tensor) -> torch.Tensor:
    """Return int8 ``[out_features, in_features]`` in the layout that :func:`multiply` takes."""
    return torch.ops.onednn.qlinear_prepack(data, None) if has_amx() else data


def multiply(x: torch.Tensor, data: torch.Tensor, out_features: int) -> torch.Tensor:
    """Multiply int8 ``[num_tokens, in_features]`` by a laid-out weight: exact sums, int32 or float32 (AMX).

    The float32 is the int32 sum rounded once, which is what the contract does next anyhow. On a CPU without AMX the
    oneDNN operator runs a reference loop of seconds a call, so there the plain integer matmul is used. With AMX it
    falls back to such a loop for results of 256 numbers or fewer and for some single rows, a hundred times slower
    than for more: rows of zeros go with those.
    """
    if not has_amx():
        if x.shape[1] == 1:
            # torch's integer product (2.13) takes a transposed weight of one input for another layout.
            return x.to(torch.int32) * data.t().to(torch.int32)
        return torch._int_mm(x, data.t())  # noqa: SLF001 - the only integer matmul that torch has
    ones, zeros = _unit_scale(out_features)
    unit = (1.0, 0)
    too_few = max(2, 256 // out_features + 1) - len(x)
    rows = torch.nn.functional.pad(x, (0, 0, 0, too_few)) if too_few > 0 else x
    sums = torch.ops.onednn.qlinear_pointwise(
        rows, *unit, data, ones, zeros, None, *unit, torch.float32, "none", [], ""
    )
    return sums[: len(x)]  # type: ignore[no-any-return]


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
    del args
    accumulated = multiply(x, weight["data"], weight["scale"].shape[0])
    return rescale(accumulated, x_scale, weight["scale"], bias, output_dtype)


def rescale(
    accumulated: torch.Tensor,
    x_scale: torch.Tensor,
    w_scale: torch.Tensor,
    bias: torch.Tensor | None,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Dequantize sums ``[num_tokens, out_features]`` with float32 scales ``[num_tokens, 1]`` and ``[out_features]``."""
    if bias is not None and bias.dtype != torch.float32:
        raise KernelError(
            f"the 'cpu' backend adds a float32 bias, not one of {bias.dtype}; dequantize it, or run on 'reference'"
        )
    terms = (accumulated.numpy(), x_scale.numpy(), w_scale.numpy(), (_NO_BIAS if bias is None else bias).numpy())
    if output_dtype == torch.bfloat16:
        y = torch.empty(accumulated.shape, dtype=torch.bfloat16)
        elementwise.over_rows(elementwise.dequantize_bf16_rows, *terms, y.view(torch.uint16).numpy())
    else:
        y = torch.empty(accumulated.shape)
        elementwise.over_rows(elementwise.dequantize_rows, *terms, y.numpy())
    return y.to(output_dtype)


@functools.cache
def has_amx() -> bool:
    """Tell whether this CPU multiplies int8 tiles."""
    return bool(torch.cpu.get_capabilities().get("amx_int8", False))


@functools.cache
def _unit_scale(out_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(out_features), torch.zeros(out_features, dtype=torch.int32)
