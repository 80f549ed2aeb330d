"""The integer linears on AMX tiles: how a weight is laid out for them, and the call."""

from typing import Any

import numpy as np
import torch

from quantguard.kernels.cpu.compiled import amx, tiles
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.numerics.torch_threads import launcher
from quantguard.records import QuantArgs

_NO_BIAS = np.empty(0, np.float32)


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why tiles cannot take such weights, or None."""
    if not weights.symmetric:
        return "its integer linears take symmetric weights."
    if weights.group_size and weights.group_size % amx.INPUTS:
        return f"its integer linears take groups that are a multiple of {amx.INPUTS}."
    return None


def pack(weight: QuantTensor, *, nibbles: bool) -> Buffers:
    """Lay a weight out in tiles, padded with zeros: uint8 ``[out / 32, in / 64, 2,048]``, or half of that in nibbles.

    The scales become float32 ``[groups, out_features]``.
    """
    out_features, in_features = weight.data.shape
    padding = (0, -in_features % amx.INPUTS, 0, -out_features % tiles.OUTPUTS)
    data = torch.nn.functional.pad(weight.data, padding)
    by_tile = data.unflatten(0, (-1, 2, amx.ROWS)).unflatten(-1, (-1, amx.ROWS, 4))
    laid_out = by_tile.permute(0, 3, 1, 4, 2, 5).flatten(3).view(torch.uint8)
    if nibbles:
        low, high = (laid_out + 8).unbind(2)
        laid_out = low | (high << 4)
    return {"data": laid_out.flatten(2).contiguous(), "scale": weight.scale.t().contiguous()}


def apply(
    x: torch.Tensor,
    x_scale: torch.Tensor,
    weight: Buffers,
    bias: torch.Tensor | None,
    *,
    args: QuantArgs,
    output_dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply and dequantize as the contract of ``int8_linear`` says; float16 results are rounded from float32."""
    missing = -x.shape[1] % amx.INPUTS
    rows = torch.nn.functional.pad(x, (0, missing)) if missing else x
    y = _result(len(x), weight, output_dtype)
    tiles.multiply(rows.contiguous().numpy(), x_scale.contiguous().numpy(), *_terms(weight, bias, y, args))
    return y.to(output_dtype)


def quantize_and_apply(
    x: torch.Tensor, weight: Buffers, bias: torch.Tensor | None, *, args: QuantArgs, input_args: QuantArgs
) -> torch.Tensor:
    """Quantize float ``x`` per token, as the contract says, and :func:`apply` to it; returns the type of ``x``."""
    values = x.detach().contiguous()
    values = values.view(torch.int16) if x.dtype == torch.bfloat16 else values.float()
    width = weight["data"].shape[1] * amx.INPUTS
    # What lies beyond the inputs has to be zero.
    make = torch.empty if width == x.shape[1] else torch.zeros
    q, x_scale = make((len(x), width), dtype=torch.int8), torch.empty(len(x), 1)
    y = _result(len(x), weight, x.dtype)
    limits = np.float32(input_args.maximum), np.float32(input_args.clip_ratio)
    tiles.quantize_and_multiply(values.numpy(), *limits, q.numpy(), x_scale.numpy(), *_terms(weight, bias, y, args))
    return y.to(x.dtype)


def _result(num_tokens: int, weight: Buffers, dtype: torch.dtype) -> torch.Tensor:
    kept = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32
    return torch.empty(num_tokens, weight["scale"].shape[1], dtype=kept)


def _terms(weight: Buffers, bias: torch.Tensor | None, y: torch.Tensor, args: QuantArgs) -> tuple[Any, ...]:
    """Return what the compiled product takes behind the activations."""
    data = weight["data"]
    return (
        data.numpy(),
        weight["scale"].numpy(),
        _NO_BIAS if bias is None else bias.contiguous().numpy(),
        (y.view(torch.uint16) if y.dtype == torch.bfloat16 else y).numpy(),
        args.group_size // amx.INPUTS if args.group_size else data.shape[1],
        torch.get_num_threads(),
        launcher(),
    )
