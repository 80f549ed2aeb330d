"""What the interpreter of Triton-Ascend 3.2.0 computes otherwise than an NPU, put right.

* float32 to bfloat16 truncates: it rounds half to even here.
* ``tl.dot`` multiplies the bit patterns of bfloat16: it multiplies their values here, and int8 on BLAS, exactly.
* ``overflow_mode="saturate"`` raises: it saturates here. A cast without it goes on wrapping around.
* ``tl.max`` goes through an array number by number, in Python, and keeps NaN: here NumPy drops it, as the compiled
  reduction (``arith.maxnumf``) does.
* Every call of a device function goes through all of the language anew: here once a function.
* Loop bounds fail with NumPy 2.4, which makes no number of an array with one element.
"""

import functools
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter
from triton.triton_patch.language import semantic

_SOURCE = "source"


@functools.cache
def mend() -> None:
    """Put the interpreter right, once a process."""
    builder = interpreter.InterpreterBuilder
    builder.cast_impl = functools.partialmethod(_cast, builder.cast_impl)
    builder.create_dot = _dot
    interpreter.ReduceOps.apply_impl = functools.partialmethod(_reduce, interpreter.ReduceOps.apply_impl)
    builder.get_str_attr = lambda _self, value: value
    builder.create_annotation = _annotate
    semantic.compile_hint = _compile_hint
    interpreter._patch_lang_tensor = functools.partial(_patch_tensor, interpreter._patch_lang_tensor)  # noqa: SLF001
    interpreter._patch_lang = functools.cache(interpreter._patch_lang)  # noqa: SLF001


def _cast(self: Any, cast: Any, source: Any, dtype: Any) -> Any:
    kinds = source.dtype.scalar, dtype.scalar
    if kinds == (tl.float32, tl.bfloat16):
        return interpreter.TensorHandle(round_to_bfloat16(source.data), tl.bfloat16)
    if kinds == (tl.bfloat16, tl.float32):
        return interpreter.TensorHandle(widen(source.data), tl.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        result = cast(self, source, dtype)
    result.attr[_SOURCE] = source.data
    return result


def _dot(_self: Any, left: Any, right: Any, added: Any, _precision: Any, _imprecise: Any) -> Any:
    values = [widen(h.data) if h.dtype.scalar == tl.bfloat16 else h.data for h in (left, right)]
    # float64 holds every sum of int8 products exactly, and sums float32 products better than a cube unit does.
    product = values[0].astype(np.float64) @ values[1].astype(np.float64)
    return interpreter.TensorHandle(product.astype(added.data.dtype) + added.data, added.dtype.scalar)


def _reduce(self: Any, reduce: Any, operands: Any) -> Any:
    extremes = {"_elementwise_max_default": np.fmax.reduce, "_elementwise_min": np.fmin.reduce}
    extreme = extremes.get(self.combine_fn.__name__)
    return reduce(self, operands) if extreme is None else self.min_max(operands[0], val_reduce_op=extreme)


def _annotate(_self: Any, handle: Any, name: str, value: str) -> None:
    if (name, value) != ("overflow_mode", "saturate"):
        raise NotImplementedError(f"the hint {name}={value}")
    limits = np.iinfo(handle.data.dtype)
    # A NaN has no integer; which one a vector unit makes of it is not documented.
    wide = np.nan_to_num(np.asarray(handle.attr[_SOURCE], dtype=np.float64), nan=0.0)
    handle.data = np.clip(wide, limits.min, limits.max).astype(handle.data.dtype)


def _compile_hint(tensor: Any, name: str, value: str, builder: Any) -> None:
    builder.create_annotation(tensor.handle, name, value)


def _patch_tensor(patch: Any, tensor: Any) -> None:
    patch(tensor)
    tensor.__index__ = lambda self: int(self.handle.data.item())


def round_to_bfloat16(values: Any) -> Any:
    """Round float32 half to even; bfloat16 is the uint16 of its bits."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded).reshape(np.shape(values))


def widen(bits: Any) -> Any:
    """Return the float32 that bfloat16 bits stand for."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
