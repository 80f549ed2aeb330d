"""The one table of compiled forms: the launcher takes its tiles from it, and the compile checks compile all of it.

A form is a kernel with its types and constants fixed. Sizes and values stay arguments, which Triton is told not to
specialise on, so that a form is compiled once and what was checked is what is launched. Limits of a 910B that the tiles
keep to: unified buffer 192 KiB a vector core, L1 512 KiB and L0C 128 KiB a cube core. Peaks are in
``tests/triton_ascend/README.md``.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Literal

Constants = Mapping[str, int]
FLOATS = ("fp32", "bf16", "fp16")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One compiled form: ``types`` maps each argument to its Triton type, ``constants`` each constant to its value."""

    op: str
    kernel: str
    cores: Literal["vector", "cube"]
    types: Mapping[str, str]
    constants: Constants

    def __str__(self) -> str:
        """Name it for a test or message: ``quantize_rows-bf16-ROWS4-COLUMNS2048``."""
        floats = sorted({kind.removeprefix("*") for kind in self.types.values()} & {"bf16", "fp16"})
        return "-".join([self.kernel, *(floats or ["fp32"]), *(f"{k}{v}" for k, v in self.constants.items())])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel and every form it ships in: each tile with each combination of ``switches``, for each float type.

    ``types`` has ``*float`` where a pointer has the float type of the form.
    """

    op: str
    name: str
    cores: Literal["vector", "cube"]
    types: Mapping[str, str]
    tiles: tuple[Constants, ...]
    switches: tuple[str, ...] = ()
    floats: tuple[str, ...] = FLOATS

    def form(self, float_type: str, tile: Constants, **switches: int) -> Form:
        """Return the form of a tile; raises KeyError for what the table does not hold."""
        if tile not in self.tiles or float_type not in self.floats or set(switches) != set(self.switches):
            raise KeyError(f"{self.name} ships no form {float_type}, {dict(tile)}, {switches}")
        types = {name: kind.replace("*float", f"*{float_type}") for name, kind in self.types.items()}
        return Form(op=self.op, kernel=self.name, cores=self.cores, types=types, constants={**tile, **switches})

    def forms(self) -> list[Form]:
        """List the forms."""
        settings = [
            dict(zip(self.switches, v, strict=True)) for v in itertools.product((0, 1), repeat=len(self.switches))
        ]
        return [
            self.form(float_type, tile, **setting)
            for float_type, tile, setting in itertools.product(self.floats, self.tiles, settings)
        ]


QUANTIZE_ROWS = Kernel(
    op="quantize_per_token",
    name="quantize_rows",
    cores="vector",
    types={
        "p_x": "*float",
        "p_q": "*i8",
        "p_scale": "*fp32",
        "num_rows": "i32",
        "num_columns": "i32",
        "maximum": "fp32",
        "clip_ratio": "fp32",
    },
    tiles=(
        {"ROWS": 64, "COLUMNS": 128},
        {"ROWS": 16, "COLUMNS": 512},
        {"ROWS": 8, "COLUMNS": 1024},
        {"ROWS": 4, "COLUMNS": 2048},
        {"ROWS": 2, "COLUMNS": 4096},
        {"ROWS": 1, "COLUMNS": 8192},
    ),
    switches=("CLAMP",),
)
QUANTIZE_WIDE_ROWS = Kernel(
    op="quantize_per_token",
    name="quantize_wide_rows",
    cores="vector",
    types=QUANTIZE_ROWS.types,
    tiles=({"ROWS": 2, "COLUMNS": 2048},),
    switches=("CLAMP",),
)
QUANTIZE_FLAT = Kernel(
    op="quantize_per_tensor",
    name="quantize_flat",
    cores="vector",
    types={"p_x": "*float", "p_q": "*i8", "p_scale": "*fp32", "num_values": "i32", "maximum": "fp32"},
    tiles=({"VALUES": 8192},),
    switches=("CLAMP",),
)
_LINEAR = {
    "p_x": "*i8",
    "p_w": "*i8",
    "p_x_scale": "*fp32",
    "p_w_scale": "*fp32",
    "p_bias": "*fp32",
    "p_y": "*float",
    "num_tokens": "i32",
    "in_features": "i32",
    "out_features": "i32",
}
# The first tile that the tokens fit into is taken, or the last: few tokens are decoding, many are prefill.
MULTIPLY_INT8 = Kernel(
    op="int8_linear",
    name="multiply_int8",
    cores="cube",
    types=_LINEAR,
    tiles=(
        {"TOKENS": 16, "OUTPUTS": 128, "INPUTS": 256},
        {"TOKENS": 64, "OUTPUTS": 128, "INPUTS": 256},
        {"TOKENS": 128, "OUTPUTS": 256, "INPUTS": 256},
    ),
    switches=("BIAS",),
)
# Half a packed block of inputs is in the low nibbles, half in the high ones: no nibble has to move to a neighbour.
MULTIPLY_INT4 = Kernel(
    op="int4_linear",
    name="multiply_int4",
    cores="cube",
    types=_LINEAR,
    tiles=(
        {"TOKENS": 16, "OUTPUTS": 128, "HALF": 64},
        {"TOKENS": 32, "OUTPUTS": 128, "HALF": 64},
        {"TOKENS": 64, "OUTPUTS": 128, "HALF": 64},
    ),
    switches=("BIAS",),
)
MULTIPLY_INT4_GROUPS = Kernel(
    op="int4_linear",
    name="multiply_int4_groups",
    cores="cube",
    types={**_LINEAR, "group_size": "i32"},
    tiles=tuple({"TOKENS": 32, "OUTPUTS": 128, "HALF": half} for half in (16, 32, 64)),
    switches=("BIAS",),
)
QUANTIZE_HEADS = Kernel(
    op="kv_cache",
    name="quantize_heads",
    cores="vector",
    types={
        "p_x": "*float",
        "p_q": "*i8",
        "p_scale": "*fp32",
        "p_zero": "*i8",
        "num_rows": "i32",
        "head_dim": "i32",
        "clip_ratio": "fp32",
    },
    tiles=({"ROWS": 32, "COLUMNS": 128}, {"ROWS": 16, "COLUMNS": 256}),
)
DEQUANTIZE_HEADS = Kernel(
    op="kv_cache",
    name="dequantize_heads",
    cores="vector",
    types={"p_q": "*i8", "p_scale": "*fp32", "p_zero": "*i8", "p_y": "*float", "num_rows": "i32", "head_dim": "i32"},
    tiles=QUANTIZE_HEADS.tiles,
    switches=("ASYMMETRIC",),
)
ROTATE_QUANTIZE = Kernel(
    op="rotate_quantize_per_token",
    name="rotate_quantize_rows",
    cores="cube",
    types={
        "p_x": "*float",
        "p_left": "*float",
        "p_right": "*float",
        "p_q": "*i8",
        "p_scale": "*fp32",
        "num_rows": "i32",
        "left_size": "i32",
        "right_size": "i32",
        "maximum": "fp32",
        "clip_ratio": "fp32",
    },
    tiles=({"LEFT": 16, "RIGHT": 16}, {"LEFT": 32, "RIGHT": 64}, {"LEFT": 64, "RIGHT": 64}, {"LEFT": 128, "RIGHT": 64}),
    switches=("KRONECKER", "CLAMP"),
    floats=("bf16", "fp16"),
)
KERNELS = (
    QUANTIZE_ROWS,
    QUANTIZE_WIDE_ROWS,
    QUANTIZE_FLAT,
    MULTIPLY_INT8,
    MULTIPLY_INT4,
    MULTIPLY_INT4_GROUPS,
    QUANTIZE_HEADS,
    DEQUANTIZE_HEADS,
    ROTATE_QUANTIZE,
)
