"""Intel AMX within compiled loops: tiles of 16 rows by 64 bytes, and the int8 product of two of them.

The eight tile registers are dealt out once: 0 to 3 hold sums, two tiles of rows by two of outputs; 4 and 5 hold
activations, 6 and 7 weights. Up to 16 rows take the upper tiles alone. A thread configures its tiles before it uses
them and releases them afterwards. Addresses and strides are in bytes; a row that crosses a cache line costs twice.
"""

import functools
from typing import Any

import torch
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from quantguard.kernels.cpu.compiled.lines import address as address_of
from quantguard.kernels.cpu.compiled.lines import emitting, pointer
from quantguard.numerics.compile_cache import compiled

# Rows of a tile, and outputs of a tile of sums.
ROWS = 16
# A tile of weights has 16 outputs and 64 inputs: in each row four inputs of every output.
INPUTS = 64
TILE_BYTES = 1024
PALETTE_BYTES = 64
_BYTE, _LONG = ir.IntType(8), ir.IntType(64)


@functools.cache
def is_available() -> bool:
    """Tell whether this CPU multiplies tiles of int8, and get the system's leave to do so in this process."""
    capable = bool(torch.cpu.get_capabilities().get("amx_int8", False))
    return capable and bool(torch.cpu._init_amx())  # noqa: SLF001 - torch's own way to ask the system


@compiled()
def configure(num_rows, palette):
    """Prepare the tiles for ``num_rows`` of activations, 1 to 32; ``palette``: uint8 ``[64]``, zeros at first."""
    upper, lower = min(num_rows, ROWS), max(num_rows - ROWS, 1)
    if palette[48] == upper and palette[50] == lower:
        return
    palette[0] = 1
    for tile in range(8):
        # Two bytes hold the width of a tile in bytes, one its rows.
        palette[16 + 2 * tile] = 64
        palette[48 + tile] = ROWS
    for tile in (0, 1, 4):
        palette[48 + tile] = upper
    for tile in (2, 3, 5):
        palette[48 + tile] = lower
    _configure(address_of(palette))


@intrinsic
def _configure(_context: Any, address: Any) -> Any:
    return emitting(lambda builder, a: _call(builder, "ldtilecfg", pointer(builder, a, _BYTE)), address)


@intrinsic
def release(_context: Any) -> Any:
    """Give the tiles back."""
    return emitting(lambda builder: _call(builder, "tilerelease"))


@intrinsic
def zero_sums(_context: Any) -> Any:
    """Set all sums to 0."""

    def write(builder: Any) -> None:
        for tile in range(4):
            _call(builder, "tilezero", _BYTE(tile))

    return emitting(write)


@intrinsic
def load_upper(_context: Any, sums: Any, stride: Any) -> Any:
    """Load the upper sums, int32 of 32 outputs, from ``sums`` on, rows ``stride`` apart."""
    return emitting(lambda *a: _move_sums("tileloadd64", 0, *a), sums, stride)


@intrinsic
def load_lower(_context: Any, sums: Any, stride: Any) -> Any:
    """Load the lower sums, which stand 16 rows behind ``sums``."""
    return emitting(lambda *a: _move_sums("tileloadd64", 2, *a), sums, stride)


@intrinsic
def store_upper(_context: Any, sums: Any, stride: Any) -> Any:
    """Store the upper sums where :func:`load_upper` finds them."""
    return emitting(lambda *a: _move_sums("tilestored64", 0, *a), sums, stride)


@intrinsic
def store_lower(_context: Any, sums: Any, stride: Any) -> Any:
    """Store the lower sums where :func:`load_lower` finds them."""
    return emitting(lambda *a: _move_sums("tilestored64", 2, *a), sums, stride)


@intrinsic
def multiply_upper(_context: Any, x: Any, stride: Any, weight: Any) -> Any:
    """Add to the upper sums: rows at ``x`` by two tiles of weights at ``weight``, one behind the other."""

    def write(builder: Any, x: Any, stride: Any, weight: Any) -> None:
        _load(builder, 4, x, stride)
        for output in (0, 1):
            _load(builder, 6 + output, _ahead(builder, weight, output * TILE_BYTES), _LONG(64))
            _multiply(builder, output, 4, 6 + output)

    return emitting(write, x, stride, weight)


@intrinsic
def multiply_all(_context: Any, x: Any, stride: Any, weight: Any) -> Any:
    """Add to all sums: up to 32 rows at ``x`` by two tiles of weights at ``weight``, one behind the other."""

    def write(builder: Any, x: Any, stride: Any, weight: Any) -> None:
        _load(builder, 4, x, stride)
        _load(builder, 6, weight, _LONG(64))
        _multiply(builder, 0, 4, 6)
        _load(builder, 7, _ahead(builder, weight, TILE_BYTES), _LONG(64))
        _multiply(builder, 1, 4, 7)
        _load(builder, 5, builder.add(x, builder.mul(stride, _LONG(ROWS))), stride)
        _multiply(builder, 2, 5, 6)
        _multiply(builder, 3, 5, 7)

    return emitting(write, x, stride, weight)


@intrinsic
def multiply_bfloat16(_context: Any, x: Any, next_x: Any, weight: Any, next_weight: Any) -> Any:
    """Add to all sums, float32: two tiles of 16 rows by 32 bfloat16, by two of 32 by 16, pairs of rows interleaved."""

    def write(builder: Any, *addresses: Any) -> None:
        for tile, address in zip((4, 6, 7, 5), (addresses[0], *addresses[2:], addresses[1]), strict=True):
            _load(builder, tile, address, _LONG(64))
        for sums, rows, outputs in ((0, 4, 6), (1, 4, 7), (2, 5, 6), (3, 5, 7)):
            _call(builder, "tdpbf16ps", _BYTE(sums), _BYTE(rows), _BYTE(outputs))

    return emitting(write, x, next_x, weight, next_weight)


def _call(builder: Any, name: str, *arguments: Any) -> None:
    signature = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, signature, f"llvm.x86.{name}"), arguments)


def _ahead(builder: Any, address: Any, num_bytes: int) -> Any:
    return builder.add(address, _LONG(num_bytes))


def _load(builder: Any, tile: int, address: Any, stride: Any) -> None:
    _call(builder, "tileloadd64", _BYTE(tile), pointer(builder, address, _BYTE), stride)


def _multiply(builder: Any, sums: int, rows: int, outputs: int) -> None:
    _call(builder, "tdpbssd", _BYTE(sums), _BYTE(rows), _BYTE(outputs))


def _move_sums(instruction: str, first: int, builder: Any, sums: Any, stride: Any) -> None:
    """Move two tiles side by side; the lower ones stand ROWS below."""
    start = builder.add(sums, builder.mul(stride, _LONG(ROWS * first // 2)))
    for output in (0, 1):
        address = _ahead(builder, start, 64 * output)
        _call(builder, instruction, _BYTE(first + output), pointer(builder, address, _BYTE), stride)
