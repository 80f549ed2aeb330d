"""Faults for the stages to catch: a copy of the kernels with one piece of text replaced."""

import dataclasses
import importlib
import pathlib
import re
import types

import pytest

import quantguard.kernels

FOLDER = pathlib.Path(quantguard.kernels.__file__).parent / "triton"
# What a copy shares with the original: how kernels are run is not under test.
_SHARED = ("__init__", "installation", "interpreter", "launch")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Text of a file under kernels/triton, what takes its place, and the op and kernel that break by it."""

    file: str
    old: str
    new: str
    op: str
    kernel: str


FAULTS = {
    "the weight scale runs along the tokens": Fault(
        file="int8_linear",
        old="* b_w_scale[None, :]",
        new="* tl.load(p_w_scale + o_tokens, mask=o_tokens < out_features, other=0.0)[:, None]",
        op="int8_linear",
        kernel="multiply_int8",
    ),
    "the cast does not saturate": Fault(
        file="rounding",
        old='tl.cast(b_x.to(tl.float16), tl.int8, overflow_mode="saturate")',
        new="b_x.to(tl.float16).to(tl.int8)",
        op="quantize_per_token",
        kernel="quantize_rows",
    ),
    "a tile is too big for the unified buffer": Fault(
        file="forms",
        old='{"ROWS": 4, "COLUMNS": 2048},\n        {"ROWS": 2,',
        new='{"ROWS": 32, "COLUMNS": 2048},\n        {"ROWS": 2,',
        op="quantize_per_token",
        kernel="quantize_rows",
    ),
    "a tile fits only without multi-buffering": Fault(
        file="forms",
        old='{"TOKENS": 128, "OUTPUTS": 256, "INPUTS": 256}',
        new='{"TOKENS": 128, "OUTPUTS": 256, "INPUTS": 1024}',
        op="int8_linear",
        kernel="multiply_int8",
    ),
    "the group's index is off by one": Fault(
        file="int4_linear",
        old="o_scale = i_group * out_features",
        new="o_scale = (i_group + 1) % tl.cdiv(in_features, group_size) * out_features",
        op="int4_linear",
        kernel="multiply_int4_groups",
    ),
    "a rotation drops the low half of its half-way product": Fault(
        file="rotate_quantize_per_token",
        old="tl.dot(b_left, b_high, b_y)",
        new="tl.dot(b_left, b_high)",
        op="rotate_quantize_per_token",
        kernel="rotate_quantize_rows",
    ),
    "scales are gathered number by number": Fault(
        file="kv_cache",
        old="tl.load(p_scale + o_rows, mask=o_rows < num_rows, other=0.0)",
        new="tl.load(p_scale + tl.load(p_q + o_rows).to(tl.int32))",
        op="kv_cache",
        kernel="dequantize_heads",
    ),
}


def plant(fault: Fault, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write the faulty copy as a package and return its name."""
    name = f"faulty_{fault.file}_{abs(hash(fault.new))}"
    copies = [path for path in FOLDER.glob("*.py") if path.stem not in _SHARED]
    names = "|".join(path.stem for path in copies)
    package = folder / name
    package.mkdir()
    (package / "__init__.py").touch()
    for path in copies:
        text = re.sub(rf"quantguard\.kernels\.triton(\.| import )({names})\b", rf"{name}\1\2", path.read_text())
        if path.stem == fault.file:
            assert text.count(fault.old) == 1, f"{fault.old} is {text.count(fault.old)} times in {path.name}"
            text = text.replace(fault.old, fault.new)
        (package / path.name).write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    return name


def load(package: str, module: str) -> types.ModuleType:
    """Import a module of a faulty copy, or of the original."""
    return importlib.import_module(f"{package}.{module}")
