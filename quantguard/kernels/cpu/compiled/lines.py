"""Whole vectors within compiled loops, where the compiler by itself would go element by element."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from quantguard.numerics.compile_cache import compiled

# What one step takes: bytes of two nibbles, numbers of 32 bits, and of 16.
NIBBLE_BYTES, LANES, WORDS = 64, 16, 32
_BYTE, _HALF, _INT, _LONG, _FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()


@functools.cache
def has(feature: str) -> bool:
    """Tell whether this CPU has a feature, by LLVM's name for it."""
    return bool(binding.get_host_cpu_features().get(feature, False))


@compiled()
def address(array: Any) -> Any:
    """Return where an array begins, as int64: Numba would go on in float64 from the unsigned address and an integer."""
    return np.int64(array.ctypes.data)


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
def unpack_words(_context: Any, packed: Any, target: Any) -> Any:
    """Write the nibbles of 32 words of 16 bits, stored 8 too large, as 128 int8: the lowest of each word, the next."""

    def write(builder: Any, packed: Any, target: Any) -> None:
        words = _load_words(builder, packed)
        for part in range(4):
            nibbles = builder.and_(_shifted(builder, words, 4 * part), _all(words.type, 15))
            integers = builder.trunc(builder.sub(nibbles, _all(words.type, 8)), ir.VectorType(_BYTE, WORDS))
            _store(builder, integers, builder.add(target, _LONG(WORDS * part)))

    return emitting(write, packed, target)


@intrinsic
def tabulate(_context: Any, zero_point: Any, scale: Any, target: Any) -> Any:
    """Write what each nibble, 0 to 15 for -8 to 7, is dequantized to: 16 float32."""

    def write(builder: Any, zero_point: Any, scale: Any, target: Any) -> None:
        _store(builder, _tabulated(builder, zero_point, scale), target)

    return emitting(write, zero_point, scale, target)


@intrinsic
def tabulate_bfloat16(_context: Any, zero_point: Any, scale: Any, target: Any) -> Any:
    """As :func:`tabulate`, rounded again to the bits of bfloat16, and all 16 twice."""

    def write(builder: Any, zero_point: Any, scale: Any, target: Any) -> None:
        values = _to_bfloat16(builder, _tabulated(builder, zero_point, scale))
        _store(builder, _shuffled(builder, values, values, list(range(WORDS))), target)

    return emitting(write, zero_point, scale, target)


@intrinsic
def look_up_bfloat16(_context: Any, packed: Any, first: Any, second: Any, target: Any) -> Any:
    """Dequantize what :func:`unpack_words` unpacks, by the tables of inputs 0 to 63 and 64 to 127; needs AVX-512 BW."""

    def write(builder: Any, packed: Any, first: Any, second: Any, target: Any) -> None:
        words = _load_words(builder, packed)
        tables = [_load_words(builder, table) for table in (first, second)]
        for part in range(4):
            # Of an index the five lowest bits count; the fifth, of the next nibble, chooses between the same entries.
            terms = [tables[part // 2], _shifted(builder, words, 4 * part)]
            values = _permuted(builder, "llvm.x86.avx512.permvar.hi.512", *terms)
            _store(builder, values, builder.add(target, _LONG(2 * WORDS * part)))

    return emitting(write, packed, first, second, target)


@intrinsic
def add_looked_up(_context: Any, x: Any, packed: Any, first: Any, second: Any, total: Any) -> Any:
    """Add ``sum(x * weight)`` over the 128 inputs of 32 packed words to four sets of 16 partial sums; needs AVX-512.

    The weights are those of :func:`look_up_bfloat16`, in float32. x: float32, for each nibble of a pair of words, from
    the lowest on, the inputs of all 16 pairs.
    """

    def write(builder: Any, x: Any, packed: Any, first: Any, second: Any, total: Any) -> None:
        pairs = _load(builder, packed, _INT)
        tables = [_load(builder, table, _FLOAT) for table in (first, second)]
        targets = [builder.add(total, _LONG(4 * LANES * number)) for number in range(4)]
        sums = [_load(builder, target, _FLOAT) for target in targets]
        for nibble in range(8):
            table = tables[nibble % 4 // 2]
            terms = [table, _shifted(builder, pairs, 4 * nibble)]
            weights = _permuted(builder, "llvm.x86.avx512.permvar.sf.512", *terms)
            inputs = _load(builder, builder.add(x, _LONG(4 * LANES * nibble)), _FLOAT)
            sums[nibble % 4] = builder.call(_fused_multiply_add(builder), [inputs, weights, sums[nibble % 4]])
        for target, values in zip(targets, sums, strict=True):
            _store(builder, values, target)

    return emitting(write, x, packed, first, second, total)


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
        _store(builder, _to_bfloat16(builder, y), target)

    return emitting(write, sums, x_scale, w_scale, addend, bias, target)


@intrinsic
def add_dot(_context: Any, x: Any, weight: Any, scale: Any, total: Any) -> Any:
    """Add ``sum(x * weight) * scale`` over 64 inputs to 16 partial sums, float32 at ``total``.

    x: float32, weight: int8, scale: one float32. All by address.
    """

    def write(builder: Any, x: Any, weight: Any, scale: Any, total: Any) -> None:
        products = ir.Constant(ir.VectorType(_FLOAT, LANES), [0.0] * LANES)
        for part in range(64 // LANES):
            inputs = _load(builder, builder.add(x, _LONG(4 * LANES * part)), _FLOAT)
            wide = builder.sext(
                _load(builder, builder.add(weight, _LONG(LANES * part)), _BYTE), ir.VectorType(_INT, LANES)
            )
            integers = builder.sitofp(wide, ir.VectorType(_FLOAT, LANES))
            products = builder.call(_fused_multiply_add(builder), [inputs, integers, products])
        scaled = builder.fmul(products, _everywhere(builder, _scalar(builder, scale)))
        _store(builder, builder.fadd(_load(builder, total, _FLOAT), scaled), total)

    return emitting(write, x, weight, scale, total)


@intrinsic
def dequantize(_context: Any, weight: Any, zero_point: Any, scale: Any, target: Any) -> Any:
    """Write ``(weight - zero_point) * scale`` of 64 int8, rounded once, to float32 at ``target``."""

    def write(builder: Any, *arguments: Any) -> None:
        for part, values in enumerate(_dequantized(builder, *arguments[:3])):
            _store(builder, values, builder.add(arguments[3], _LONG(4 * LANES * part)))

    return emitting(write, weight, zero_point, scale, target)


@intrinsic
def dequantize_bfloat16(_context: Any, weight: Any, zero_point: Any, scale: Any, target: Any) -> Any:
    """As :func:`dequantize`, rounded again to the bits of bfloat16; a CPU's own instruction makes subnormals zero."""

    def write(builder: Any, *arguments: Any) -> None:
        parts = _dequantized(builder, *arguments[:3])
        for number, (lower, upper) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
            rounded = _pair_to_bfloat16(builder, lower, upper)
            _store(builder, rounded, builder.add(arguments[3], _LONG(2 * WORDS * number)))

    return emitting(write, weight, zero_point, scale, target)


@intrinsic
def interleave(_context: Any, first: Any, second: Any, target: Any) -> Any:
    """Write 16 numbers of 16 bits at ``first`` and at ``second`` in turn."""

    def write(builder: Any, first: Any, second: Any, target: Any) -> None:
        pair = [_load(builder, address, _HALF) for address in (first, second)]
        order = [index for lane in range(LANES) for index in (lane, LANES + lane)]
        _store(builder, _shuffled(builder, *pair, order), target)

    return emitting(write, first, second, target)


@intrinsic
def transpose(_context: Any, source: Any, target: Any) -> Any:
    """Write 16 rows of 16 numbers of 32 bits as columns."""

    def write(builder: Any, source: Any, target: Any) -> None:
        rows = [_load(builder, builder.add(source, _LONG(64 * row)), _INT) for row in range(LANES)]
        # Each round exchanges what lies so far apart between a row and the one that far below.
        for apart in (1, 2, 4, 8):
            upper = [lane if not lane & apart else lane - apart + LANES for lane in range(LANES)]
            lower = [lane + apart if not lane & apart else lane + LANES for lane in range(LANES)]
            for row in (row for row in range(LANES) if not row & apart):
                pair = rows[row], rows[row + apart]
                rows[row], rows[row + apart] = (_shuffled(builder, *pair, order) for order in (upper, lower))
        for row, line in enumerate(rows):
            _store(builder, line, builder.add(target, _LONG(64 * row)))

    return emitting(write, source, target)


@intrinsic
def prefetch(_context: Any, address: Any) -> Any:
    """Fetch a cache line into the second-level cache."""
    return emitting(lambda builder, address: _prefetch(builder, address, to_write=False, level=2), address)


@intrinsic
def prefetch_to_write(_context: Any, address: Any) -> Any:
    """Fetch a cache line that will be written."""
    return emitting(lambda builder, address: _prefetch(builder, address, to_write=True, level=1), address)


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


def _prefetch(builder: Any, address: Any, *, to_write: bool, level: int) -> None:
    line = pointer(builder, address, _BYTE)
    signature = ir.FunctionType(ir.VoidType(), [line.type, _INT, _INT, _INT])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    # LLVM counts localities upwards to 3, the first level; the last argument says that it is data.
    builder.call(function, [line, _INT(int(to_write)), _INT(4 - level), _INT(1)])


def _shuffled(builder: Any, first: Any, second: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(_INT, len(order)), order))


def _fused_multiply_add(builder: Any) -> Any:
    vector = ir.VectorType(_FLOAT, LANES)
    signature = ir.FunctionType(vector, [vector] * 3)
    return cgutils.get_or_insert_function(builder.module, signature, f"llvm.fma.v{LANES}f32")


def _rescaled(builder: Any, sums: Any, x_scale: Any, w_scale: Any, addend: Any) -> Any:
    y = builder.sitofp(_load(builder, sums, _INT), ir.VectorType(_FLOAT, LANES))
    y = builder.fmul(y, _everywhere(builder, _scalar(builder, x_scale)))
    y = builder.fmul(y, _load(builder, w_scale, _FLOAT))
    return builder.fadd(_load(builder, addend, _FLOAT), y)


def _dequantized(builder: Any, weight: Any, zero_point: Any, scale: Any) -> list[Any]:
    step = _everywhere(builder, _scalar(builder, scale))
    parts = [builder.add(weight, _LONG(LANES * part)) for part in range(64 // LANES)]
    return [builder.fmul(_integers(builder, address, zero_point), step) for address in parts]


def _integers(builder: Any, weight: Any, zero_point: Any) -> Any:
    wide = builder.sext(_load(builder, weight, _BYTE), ir.VectorType(_INT, LANES))
    shifted = builder.sub(wide, _everywhere(builder, builder.trunc(zero_point, _INT)))
    return builder.sitofp(shifted, ir.VectorType(_FLOAT, LANES))


def _to_bfloat16(builder: Any, y: Any) -> Any:
    """Round half to even, on the bits."""
    wide = ir.VectorType(_INT, LANES)
    bits = builder.bitcast(y, wide)
    odd = builder.and_(builder.lshr(bits, _all(wide, 16)), _all(wide, 1))
    rounded = builder.lshr(builder.add(bits, builder.add(odd, _all(wide, 0x7FFF))), _all(wide, 16))
    return builder.trunc(rounded, ir.VectorType(_HALF, LANES))


def _scalar(builder: Any, address: Any) -> Any:
    return builder.load(pointer(builder, address, _FLOAT))


def _everywhere(builder: Any, scalar: Any) -> Any:
    """Return a vector that holds the scalar in every lane."""
    first = builder.insert_element(ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined), scalar, _INT(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES))


def _load(builder: Any, address: Any, kind: Any) -> Any:
    # Addresses need not be aligned.
    return builder.load(pointer(builder, address, ir.VectorType(kind, LANES)), align=1)


def _store(builder: Any, vector: Any, address: Any) -> None:
    builder.store(vector, pointer(builder, address, vector.type), align=1)


def _load_words(builder: Any, address: Any) -> Any:
    return builder.load(pointer(builder, address, ir.VectorType(_HALF, WORDS)), align=1)


def _shifted(builder: Any, vector: Any, bits: int) -> Any:
    return builder.lshr(vector, _all(vector.type, bits)) if bits else vector


def _tabulated(builder: Any, zero_point: Any, scale: Any) -> Any:
    nibbles = ir.Constant(ir.VectorType(_INT, LANES), list(range(-8, 8)))
    shifted = builder.sub(nibbles, _everywhere(builder, builder.trunc(zero_point, _INT)))
    values = builder.sitofp(shifted, ir.VectorType(_FLOAT, LANES))
    return builder.fmul(values, _everywhere(builder, _scalar(builder, scale)))


def _permuted(builder: Any, instruction: str, entries: Any, indices: Any) -> Any:
    signature = ir.FunctionType(entries.type, [entries.type, indices.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, instruction), [entries, indices])


def _pair_to_bfloat16(builder: Any, lower: Any, upper: Any) -> Any:
    """Round 32 float32 half to even to the bits of bfloat16."""
    if has("avx512bf16"):
        # llvmlite has no type of bfloat16 and thus no call of LLVM's intrinsic.
        binding.initialize_native_asmparser()
        signature = ir.FunctionType(ir.VectorType(_HALF, WORDS), [lower.type, upper.type])
        return builder.asm(signature, "vcvtne2ps2bf16 $1, $2, $0", "=v,v,v", [lower, upper], side_effect=False)
    halves = [_to_bfloat16(builder, values) for values in (lower, upper)]
    return _shuffled(builder, *halves, list(range(WORDS)))


def _all(vector: Any, value: int) -> Any:
    return ir.Constant(vector, [value] * vector.count)
