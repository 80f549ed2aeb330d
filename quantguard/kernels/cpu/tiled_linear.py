"""The integer linears on AMX tiles: how a weight is laid out for them, and the call."""

import numpy as np
import torch

from quantguard.kernels.cpu.compiled import amx, tiles
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.numerics.parallel import launcher
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
    data, scale = weight["data"], weight["scale"]
    rows = x if x.shape[1] % amx.INPUTS == 0 else torch.nn.functional.pad(x, (0, -x.shape[1] % amx.INPUTS))
    group_steps = args.group_size // amx.INPUTS if args.group_size else data.shape[1]
    y = torch.empty(
        x.shape[0], scale.shape[1], dtype=torch.bfloat16 if output_dtype == torch.bfloat16 else torch.float32
    )
    tiles.multiply(
        rows.contiguous().numpy(),
        x_scale.numpy(),
        data.numpy(),
        scale.numpy(),
        _NO_BIAS if bias is None else bias.numpy(),
        (y.view(torch.uint16) if y.dtype == torch.bfloat16 else y).numpy(),
        group_steps,
        torch.get_num_threads(),
        launcher(),
    )
    return y.to(output_dtype)
