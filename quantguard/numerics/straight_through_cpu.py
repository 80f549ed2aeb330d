"""Straight-through quantization as one compiled pass forward and one backward, where torch would make thirty.

The same values and gradients as the formulas of :mod:`quantguard.numerics.straight_through`, row by row. Ties for an
extreme share its gradient, as torch has it.
"""

from typing import Any

import numpy as np
import torch

from quantguard.numerics.affine import SMALLEST_SCALE
from quantguard.numerics.compile_cache import compiled
from quantguard.numerics.torch_threads import over_range
from quantguard.records import QuantArgs


class FakeQuantize(torch.autograd.Function):
    """Rows ``[rows, columns]``, float32 or float64 on the CPU, with shares ``[rows]`` of their extremes."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, low: torch.Tensor, high: torch.Tensor, args: QuantArgs) -> torch.Tensor:
        """Quantize and dequantize; symmetric quantization takes ``high`` alone."""
        x, low, high = (tensor.detach().contiguous() for tensor in (x, low, high))
        ctx.save_for_backward(x, low, high)
        ctx.args = args
        y = torch.empty_like(x)
        kernel = _symmetric if args.symmetric else _asymmetric
        arrays = (x.numpy(), low.numpy(), high.numpy(), y.numpy())
        over_range(len(x), kernel, *arrays, *_limits(args))
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        """Return the gradients of the input and of the shares."""
        x, low, high = ctx.saved_tensors
        found = (torch.empty_like(x), torch.zeros_like(low), torch.zeros_like(high))
        kernel = _symmetric_backward if ctx.args.symmetric else _asymmetric_backward
        arrays = [tensor.numpy() for tensor in (x, low, high, grad.contiguous(), *found)]
        over_range(len(x), kernel, *arrays, *_limits(ctx.args))
        return (*found, None)


def _limits(args: QuantArgs) -> tuple[float, float, float]:
    return float(args.minimum), float(args.maximum), args.clip_ratio


# Only what is added up or compared may be reordered: what is computed for an element is exactly the formula.
_compiled = compiled(error_model="numpy")
_reduction = compiled(fastmath={"nnan", "nsz", "reassoc"})


@_reduction  # type: ignore[misc, unused-ignore]
def _extremes(row):  # type: ignore[no-untyped-def]
    smallest, largest = row[0], row[0]
    for value in row:
        smallest, largest = min(smallest, value), max(largest, value)
    return smallest, largest


@_reduction  # type: ignore[misc, unused-ignore]
def _total(row):  # type: ignore[no-untyped-def]
    total = row.dtype.type(0)
    for value in row:
        total += value
    return total


@_reduction  # type: ignore[misc, unused-ignore]
def _count(row, wanted):  # type: ignore[no-untyped-def]
    count = row.dtype.type(0)
    for value in row:
        count += row.dtype.type(value == wanted)
    return count


@_compiled  # type: ignore[misc, unused-ignore]
def _symmetric(x, low, high, y, minimum, maximum, ratio, start, stop):  # type: ignore[no-untyped-def]
    kind = x.dtype.type
    bottom, top = kind(minimum), kind(maximum)
    for row in range(start, stop):
        smallest, largest = _extremes(x[row])
        step = max(max(-smallest, largest) * kind(ratio) * high[row] / top, kind(SMALLEST_SCALE))
        for column in range(x.shape[1]):
            y[row, column] = min(max(np.rint(x[row, column] / step), bottom), top) * step


@_compiled  # type: ignore[misc, unused-ignore]
def _symmetric_backward(  # type: ignore[no-untyped-def]
    x, low, high, grad, grad_x, grad_low, grad_high, minimum, maximum, ratio, start, stop
):
    kind = x.dtype.type
    bottom, top = kind(minimum), kind(maximum)
    of_step = np.empty(x.shape[1], x.dtype)
    for row in range(start, stop):
        smallest, largest = _extremes(x[row])
        extreme = max(-smallest, largest)
        scaled = extreme * kind(ratio) * high[row] / top
        step = max(scaled, kind(SMALLEST_SCALE))
        for column in range(x.shape[1]):
            value = x[row, column] / step
            rounded = np.rint(value)
            inside = kind(1) if bottom <= rounded <= top else kind(0)
            grad_x[row, column] = grad[row, column] * inside
            of_step[column] = grad[row, column] * (min(max(rounded, bottom), top) - value * inside)
        if scaled < kind(SMALLEST_SCALE):
            continue
        of_share = _total(of_step) * kind(ratio) / top
        grad_high[row] = of_share * extreme
        of_extreme = of_share * high[row] / (_count(x[row], extreme) + _count(x[row], -extreme))
        for column in range(x.shape[1]):
            if abs(x[row, column]) == extreme:
                grad_x[row, column] += np.sign(x[row, column]) * of_extreme


@_compiled  # type: ignore[misc, unused-ignore]
def _asymmetric(x, low, high, y, minimum, maximum, ratio, start, stop):  # type: ignore[no-untyped-def]
    kind = x.dtype.type
    bottom, top = kind(minimum), kind(maximum)
    for row in range(start, stop):
        smallest, largest = _extremes(x[row])
        lowest = min(smallest, kind(0)) * kind(ratio) * low[row]
        highest = max(largest, kind(0)) * kind(ratio) * high[row]
        step = max((highest - lowest) / (top - bottom), kind(SMALLEST_SCALE))
        zero = min(max(np.rint(bottom - lowest / step), bottom), top)
        for column in range(x.shape[1]):
            y[row, column] = (min(max(np.rint(x[row, column] / step) + zero, bottom), top) - zero) * step


@_compiled  # type: ignore[misc, unused-ignore]
def _asymmetric_backward(  # type: ignore[no-untyped-def]
    x, low, high, grad, grad_x, grad_low, grad_high, minimum, maximum, ratio, start, stop
):
    kind = x.dtype.type
    bottom, top = kind(minimum), kind(maximum)
    of_steps, of_zeros = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    for row in range(start, stop):
        smallest, largest = _extremes(x[row])
        lowest = min(smallest, kind(0)) * kind(ratio) * low[row]
        highest = max(largest, kind(0)) * kind(ratio) * high[row]
        scaled = (highest - lowest) / (top - bottom)
        step = max(scaled, kind(SMALLEST_SCALE))
        unclamped = np.rint(bottom - lowest / step)
        zero = min(max(unclamped, bottom), top)
        for column in range(x.shape[1]):
            value = x[row, column] / step
            shifted = np.rint(value) + zero
            inside = kind(1) if bottom <= shifted <= top else kind(0)
            grad_x[row, column] = grad[row, column] * inside
            of_steps[column] = grad[row, column] * (min(max(shifted, bottom), top) - zero - value * inside)
            of_zeros[column] = grad[row, column] * (inside - kind(1))
        of_zero = _total(of_zeros) * step if unclamped == zero else kind(0)
        of_step = _total(of_steps) + of_zero * lowest / (step * step)
        if scaled < kind(SMALLEST_SCALE):
            of_step = kind(0)
        of_highest = of_step / (top - bottom)
        of_lowest = -of_zero / step - of_highest
        grad_low[row] = of_lowest * min(smallest, kind(0)) * kind(ratio)
        grad_high[row] = of_highest * max(largest, kind(0)) * kind(ratio)
        of_smallest = of_lowest * kind(ratio) * low[row] / _count(x[row], smallest) if smallest <= 0 else kind(0)
        of_largest = of_highest * kind(ratio) * high[row] / _count(x[row], largest) if largest >= 0 else kind(0)
        for column in range(x.shape[1]):
            if x[row, column] == smallest:
                grad_x[row, column] += of_smallest
            if x[row, column] == largest:
                grad_x[row, column] += of_largest
