"""Weights of eight or four bits stay packed in memory: dotted with a few tokens, dequantized in passing for more."""

import numpy as np
import torch

from quantguard.kernels import int4_linear
from quantguard.kernels.cpu.compiled import weight_only
from quantguard.kernels.int8_linear import Buffers
from quantguard.numerics import QuantTensor
from quantguard.numerics.torch_threads import launcher
from quantguard.records import QuantArgs

# Of the sum of magnitudes, for a few tokens: the contract rounds each weight to the type of the activations, which is
# not done here; in float32 the order of summation is left.
TOLERANCE = {torch.float32: 2**-18, torch.bfloat16: 2**-7, torch.float16: 2**-10}
# Up to so many tokens dot products are faster than torch's product with a dequantized weight.
_FEW_TOKENS = 4
_NO_ZERO_POINT, _NO_SUMS = np.empty((0, 0), np.int32), np.empty((0, 0), np.float32)
_NO_BIAS = np.empty(0, np.float32)


def unsupported(weights: QuantArgs) -> str | None:
    """Give the reason why the kernel cannot take such weights, or None."""
    if weights.group_size and weights.group_size % weight_only.HALF:
        return f"its weight_only_linear takes groups that are a multiple of {weight_only.HALF}."
    return None


def pack(weight: QuantTensor) -> Buffers:
    """Lay the weight out in pieces of 128 inputs, two weights to a byte where four bits hold them."""
    padded = torch.nn.functional.pad(weight.data, (0, -weight.data.shape[1] % weight_only.PIECE))
    pieces = padded.unflatten(1, (-1, weight_only.PIECE)).view(torch.uint8)
    if int4_linear.unsupported(weight.args) is None:
        low, high = (pieces + 8).unflatten(-1, (2, -1)).unbind(-2)
        pieces = low | (high << 4)
    buffers = {"data": pieces.contiguous(), "scale": weight.scale.contiguous()}
    if weight.zero_point is not None:
        buffers["zero_point"] = weight.zero_point.contiguous()
    return buffers


def apply(x: torch.Tensor, weight: Buffers, bias: torch.Tensor | None, *, args: QuantArgs) -> torch.Tensor:
    """Multiply as the contract says; for a few tokens in float32 throughout, which rounds less than it."""
    data, scale = weight["data"], weight["scale"]
    zero_point = weight["zero_point"].numpy() if "zero_point" in weight else _NO_ZERO_POINT
    group_halves = (args.group_size or data.shape[1] * weight_only.PIECE) // weight_only.HALF
    terms = (data.numpy(), scale.numpy(), zero_point)
    threads = (torch.get_num_threads(), launcher())
    width = data.shape[1] * weight_only.PIECE
    if len(x) <= _FEW_TOKENS:
        inputs = torch.nn.functional.pad(x.detach().float(), (0, width - x.shape[1])).contiguous()
        y = torch.empty(len(x), len(data))
        sums = _group_sums(x, args).numpy() if "zero_point" in weight else _NO_SUMS
        addend = _NO_BIAS if bias is None else bias.float().numpy()
        weight_only.multiply(inputs.numpy(), sums, *terms, addend, y.numpy(), group_halves, *threads)
        return y.to(x.dtype)
    dense = torch.empty(len(data), width, dtype=torch.bfloat16 if x.dtype == torch.bfloat16 else torch.float32)
    target = dense.view(torch.uint16) if dense.dtype == torch.bfloat16 else dense
    weight_only.dequantize(*terms, target.numpy(), group_halves, *threads)
    rounded = dense[:, : x.shape[1]].to(x.dtype)
    return torch.nn.functional.linear(x, rounded, None if bias is None else bias.to(x.dtype))


def _group_sums(x: torch.Tensor, args: QuantArgs) -> torch.Tensor:
    """Add up the inputs of each scale group: float32 ``[num_tokens, groups]``."""
    size = args.group_size or x.shape[1]
    padded = torch.nn.functional.pad(x.detach().float(), (0, -x.shape[1] % size))
    sums: torch.Tensor = padded.unflatten(1, (-1, size)).sum(-1)
    return sums
