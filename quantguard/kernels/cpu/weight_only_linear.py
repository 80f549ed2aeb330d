"""Weights of eight or four bits stay packed in memory: dotted with a few tokens, dequantized in passing for more."""

from typing import Any

import numpy as np
import torch

from quantguard.kernels import int4_linear
from quantguard.kernels.cpu.compiled import lines, weight_only
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.numerics.torch_threads import launcher
from quantguard.records import QuantArgs

# Of the sum of magnitudes, for a few tokens: the contract rounds each weight to the type of the activations, which is
# not done here; in float32 the order of summation is left.
TOLERANCE = {torch.float32: 2**-18, torch.bfloat16: 2**-7, torch.float16: 2**-10}
# Up to so many tokens dot products are faster than torch's product with a dequantized weight.
_FEW_TOKENS = 4
# What is dequantized at a time: torch's product with less is slower, by 2 % at a quarter of it.
_PANEL_BYTES = 16 << 20
_NO_ZERO_POINT, _NO_SUMS = np.empty((0, 0), np.int32), np.empty((0, 0), np.float32)
_NO_BIAS = np.empty(0, np.float32)


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the kernel cannot take such weights, or None."""
    if weights.group_size and weights.group_size % weight_only.HALF:
        return f"its weight_only_linear takes groups that are a multiple of {weight_only.HALF}."
    return None


def pack(weight: QuantTensor) -> Buffers:
    """Lay the weight out in pieces of 128 inputs, two weights to a byte where four bits hold them."""
    data = lay_out(weight.data, nibbles=int4_linear.unsupported(weight.args) is None)
    buffers = {"data": data, "scale": weight.scale.contiguous()}
    if weight.zero_point is not None:
        buffers["zero_point"] = weight.zero_point.contiguous()
    return buffers


def lay_out(data: torch.Tensor, *, nibbles: bool) -> torch.Tensor:
    """Cut int8 ``[out_features, in_features]`` into pieces of 128, the last padded with zeros.

    Returns uint8 ``[out_features, pieces, 128]``, or in nibbles ``[out_features, pieces, 64]``.
    """
    padded = torch.nn.functional.pad(data, (0, -data.shape[1] % weight_only.PIECE))
    pieces = padded.unflatten(1, (-1, weight_only.PIECE)).view(torch.uint8)
    if nibbles:
        quarters = (pieces + 8).unflatten(-1, (4, -1))
        words = (quarters[..., 0::2, :] | (quarters[..., 1::2, :] << 4)).transpose(-1, -2)
        pieces = words.flatten(-2)
    laid_out: torch.Tensor = pieces.contiguous()
    return laid_out


def unpack(nibbles: torch.Tensor) -> torch.Tensor:
    """Return the int8 weight of packed pieces, ``[out_features, pieces * 128]``."""
    data = torch.empty(len(nibbles), nibbles.shape[1] * weight_only.PIECE, dtype=torch.int8)
    weight_only.unpack(nibbles.numpy(), data.numpy(), torch.get_num_threads(), launcher())
    return data


def apply(x: torch.Tensor, weight: Buffers, bias: torch.Tensor | None, *, args: QuantArgs) -> torch.Tensor:
    """Multiply as the contract says; for a few tokens in float32 throughout, which rounds less than it.

    Beside the result a call takes up to 16 MiB, for the part of the weight that is dequantized at a time.
    """
    x = x.detach()
    return (
        _multiply(x, weight, bias, args) if len(x) <= _FEW_TOKENS else _dequantize_and_multiply(x, weight, bias, args)
    )


def _multiply(x: torch.Tensor, weight: Buffers, bias: torch.Tensor | None, args: QuantArgs) -> torch.Tensor:
    num_pieces = weight["data"].shape[1]
    inputs = torch.nn.functional.pad(x.float(), (0, num_pieces * weight_only.PIECE - x.shape[1])).contiguous()
    y = torch.empty(len(x), len(weight["data"]))
    addend = _NO_BIAS if bias is None else bias.float().numpy()
    *terms, group_halves = _terms(weight, args)
    rest = (addend, y.numpy(), group_halves, torch.get_num_threads(), launcher())
    if _is_looked_up(weight):
        # Nibble by nibble of a pair of words, from the lowest on, the inputs of all pairs of a piece.
        pairs = inputs.view(-1, 4, lines.LANES, 2).permute(0, 3, 1, 2).reshape(inputs.shape)
        weight_only.multiply_looked_up(pairs.numpy(), *terms, *rest)
    else:
        sums = _group_sums(x, args).numpy() if "zero_point" in weight else _NO_SUMS
        weight_only.multiply(inputs.numpy(), sums, *terms, *rest)
    return y.to(x.dtype)


def _dequantize_and_multiply(
    x: torch.Tensor, weight: Buffers, bias: torch.Tensor | None, args: QuantArgs
) -> torch.Tensor:
    """Dequantize and multiply some outputs after the others, all in the same memory.

    What a system newly gives, it fills with zeros, which for a whole weight takes longer than to dequantize it.
    """
    num_outputs, width = len(weight["data"]), weight["data"].shape[1] * weight_only.PIECE
    kept = torch.bfloat16 if x.dtype == torch.bfloat16 else torch.float32
    num_panels = -(-num_outputs * width * kept.itemsize // _PANEL_BYTES)
    panel = torch.empty(-(-num_outputs // num_panels), width, dtype=kept)
    target = (panel.view(torch.uint16) if kept == torch.bfloat16 else panel).numpy()
    looked_up = kept == torch.bfloat16 and _is_looked_up(weight)
    write = weight_only.dequantize_looked_up if looked_up else weight_only.dequantize
    data, scale, zero_point, group_halves = _terms(weight, args)
    y = torch.empty(len(x), num_outputs, dtype=x.dtype)
    for start in range(0, num_outputs, len(panel)):
        rows = slice(start, min(start + len(panel), num_outputs))
        count = rows.stop - start
        terms = (data[rows], scale[rows], zero_point[rows], target[:count])
        write(*terms, group_halves, torch.get_num_threads(), launcher())
        rounded = panel[:count, : x.shape[1]].to(x.dtype).t()
        if bias is None:
            torch.mm(x, rounded, out=y[:, rows])
        else:
            torch.addmm(bias[rows].to(x.dtype), x, rounded, out=y[:, rows])
    return y


def _terms(weight: Buffers, args: QuantArgs) -> tuple[Any, Any, Any, int]:
    """Return what the compiled loops take of a weight: data, scale, zero point, and a group's inputs in halves."""
    data = weight["data"]
    zero_point = weight["zero_point"].numpy() if "zero_point" in weight else _NO_ZERO_POINT
    group_halves = (args.group_size or data.shape[1] * weight_only.PIECE) // weight_only.HALF
    return data.numpy(), weight["scale"].numpy(), zero_point, group_halves


def _is_looked_up(weight: Buffers) -> bool:
    return weight["data"].shape[2] == weight_only.HALF and weight_only.has_tables()


def _group_sums(x: torch.Tensor, args: QuantArgs) -> torch.Tensor:
    """Add up the inputs of each scale group: float32 ``[num_tokens, groups]``."""
    size = args.group_size or x.shape[1]
    padded = torch.nn.functional.pad(x.detach().float(), (0, -x.shape[1] % size))
    sums: torch.Tensor = padded.unflatten(1, (-1, size)).sum(-1)
    return sums
