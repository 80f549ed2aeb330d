"""Keys and values by ``npu_dynamic_quant``, its asymmetric sister or ``npu_quantize``; restored element by element.

A token's offset is a float32, where the contract has a zero point rounded to int8, and its range need not hold 0.
"""

import torch

from quantguard.kernels.ascend import vendor
from quantguard.kernels.kv_cache import Stored
from quantguard.numerics import KVQuantizer, unpack_int4
from quantguard.records import QuantArgs

# Beside the contract, in steps of its scale: both are off by half a step, and its rounded zero point by another half.
TOLERANCE_STEPS = 1.5


def unsupported(args: QuantArgs) -> str | None:
    """Give the reason why the operations cannot store so, or run here, or None."""
    if args.clip_ratio != 1.0:
        return "its kv_cache does not clip: set clip_ratio = 1.0."
    if args.strategy == "token" and args.num_bits in (4, 8):
        return vendor.unavailable("npu_dynamic_quant" if args.symmetric else "npu_dynamic_quant_asymmetric")
    if args.strategy == "channel" and args.num_bits == 8 and args.symmetric:
        return vendor.unavailable("npu_quantize")
    return "its kv_cache stores 4 or 8 bits with a scale a token and head, and 8 symmetric bits with one a channel."


def store(x: torch.Tensor, quantizer: KVQuantizer) -> Stored:
    """Quantize as the contract says, but for ``offset``: float32, in the place of ``zero_point``.

    Four bits are int32 ``[batch, heads, tokens, head_dim / 8]``.
    """
    if quantizer.scale is not None:
        tokens = x.transpose(1, 2)
        data = vendor.quantize(tokens.flatten(2).flatten(0, 1), quantizer.scale.flatten())
        return {"data": data.view(tokens.shape).transpose(1, 2)}
    rows, shape = x.reshape(-1, x.shape[-1]), (*x.shape[:-1], 1)
    if quantizer.args.symmetric:
        data, scale = vendor.dynamic_quant(rows, num_bits=quantizer.args.num_bits)
        return {"data": data.view(*x.shape[:-1], -1), "scale": scale.view(shape)}
    data, scale, offset = vendor.dynamic_quant_asymmetric(rows, num_bits=quantizer.args.num_bits)
    return {"data": data.view(*x.shape[:-1], -1), "scale": scale.view(shape), "offset": offset.view(shape)}


def restore(stored: Stored, quantizer: KVQuantizer, *, output_dtype: torch.dtype) -> torch.Tensor:
    """Dequantize in float32, ``(data - offset) * scale``, and round once to ``output_dtype``."""
    data = stored["data"]
    if data.dtype == torch.int32:
        bytes_ = data.contiguous().view(torch.uint8)
        data = unpack_int4(bytes_.flatten(0, -2), 2 * bytes_.shape[-1]).view(*data.shape[:-1], -1)
    values = data.float()
    if "offset" in stored:
        values -= stored["offset"]
    scale = quantizer.scale if quantizer.scale is not None else stored["scale"]
    values *= scale
    return values.to(output_dtype)
