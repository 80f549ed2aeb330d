"""Whole vectors within compiled loops, where the compiler by itself would go element by element."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# What one step takes: bytes of two nibbles, and outputs of 32 bits.
NIBBLE_BYTES, OUTPUTS = 64, 16
_BYTE, _HALF, _INT, _FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()


@intrinsic
def unpack_nibbles(_context: Any, packed: Any, low: Any, high: Any) -> Any:
    """Write the low and high nibbles of 64 bytes, stored 8 too large, as int8 to ``low`` and ``high``."""

    def write(builder: Any, *addresses: Any) -> None:
        line = ir.VectorType(_BYTE, NIBBLE_BYTES)
        source, *targets = (pointer(builder, address, line) for address in addresses)
        both = builder.load(source, align=1)
        nibbles = builder.and_(both, _all(line, 15)), builder.lshr(both, _all(line, 4))
        for nibble, target in zip(nibbles, targets, strict=True):
            builder.store(builder.sub(nibble, _all(line, 8)), target, align=1)

    return emitting(write, packed, low, high)


@intrinsic
def rescale(_context: Any, sums: Any, x_scale: Any, w_scale: Any, addend: Any, target: Any) -> Any:
    """Write ``float32(sums) * x_scale * w_scale + addend``, each step rounded, for 16 outputs of one token.

    sums: int32; x_scale: one float32; w_scale, addend and target: float32. All by address.
    """

    def write(builder: Any, *addresses: Any) -> None:
        *terms, target = addresses
        _store(builder, _rescaled(builder, *terms), target)

    return emitting(write, sums, x_scale, w_scale, addend, target)


@intrinsic
def finish(_context: Any, sums: Any, x_scale: Any, w_scale: Any, addend: Any, bias: Any, target: Any) -> Any:
    """Write to ``target``, float32, what :func:`rescale` gives plus ``bias``."""

    def write(builder: Any, *addresses: Any) -> None:
        *terms, bias, target = addresses
        _store(builder, builder.fadd(_rescaled(builder, *terms), _load(builder, bias, _FLOAT)), target)

    return emitting(write, sums, x_scale, w_scale, addend, bias, target)


@intrinsic
def finish_bfloat16(_context: Any, sums: Any, x_scale: Any, w_scale: Any, addend: Any, bias: Any, target: Any) -> Any:
    """As :func:`finish`, rounded half to even to the bits of bfloat16."""

    def write(builder: Any, *addresses: Any) -> None:
        *terms, bias, target = addresses
        y = builder.fadd(_rescaled(builder, *terms), _load(builder, bias, _FLOAT))
        wide = ir.VectorType(_INT, OUTPUTS)
        bits = builder.bitcast(y, wide)
        odd = builder.and_(builder.lshr(bits, _all(wide, 16)), _all(wide, 1))
        rounded = builder.lshr(builder.add(bits, builder.add(odd, _all(wide, 0x7FFF))), _all(wide, 16))
        _store(builder, builder.trunc(rounded, ir.VectorType(_HALF, OUTPUTS)), target)

    return emitting(write, sums, x_scale, w_scale, addend, bias, target)


@intrinsic
def prefetch(_context: Any, address: Any) -> Any:
    """Fetch a cache line into the second-level cache."""

    def write(builder: Any, address: Any) -> None:
        line = pointer(builder, address, _BYTE)
        signature = ir.FunctionType(ir.VoidType(), [line.type, _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
        # To read, for the second level, of data.
        builder.call(function, [line, _INT(0), _INT(2), _INT(1)])

    return emitting(write, address)


def emitting(write: Callable[..., object], *arguments: Any) -> Any:
    """Return what Numba takes for an intrinsic without a result: its signature, and what writes its instructions.

    ``write`` is given the builder and the arguments, all int64.
    """

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        write(builder, *values)
        return context.get_dummy_value()

    return types.void(*(types.int64 for _ in arguments)), generate


def pointer(builder: Any, address: Any, kind: Any) -> Any:
    """Return the address as a pointer to ``kind``."""
    return builder.inttoptr(address, kind.as_pointer())


def _rescaled(builder: Any, sums: Any, x_scale: Any, w_scale: Any, addend: Any) -> Any:
    vector = ir.VectorType(_FLOAT, OUTPUTS)
    y = builder.sitofp(_load(builder, sums, _INT), vector)
    scalar = builder.load(pointer(builder, x_scale, _FLOAT))
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _INT(0))
    everywhere = ir.Constant(ir.VectorType(_INT, OUTPUTS), [0] * OUTPUTS)
    y = builder.fmul(y, builder.shuffle_vector(first, first, everywhere))
    y = builder.fmul(y, _load(builder, w_scale, _FLOAT))
    return builder.fadd(_load(builder, addend, _FLOAT), y)


def _load(builder: Any, address: Any, kind: Any) -> Any:
    # Addresses need not be aligned.
    return builder.load(pointer(builder, address, ir.VectorType(kind, OUTPUTS)), align=1)


def _store(builder: Any, vector: Any, address: Any) -> None:
    builder.store(vector, pointer(builder, address, vector.type), align=1)


def _all(vector: Any, value: int) -> Any:
    return ir.Constant(vector, [value] * vector.count)
