"""Every backend agrees with the reference bit for bit, at odd shapes, and reads no memory that it did not write."""

import dataclasses
import itertools
import os
import platform
import subprocess
import sys
import types
from typing import Any

import pytest
import torch

from quantguard.errors import QuantguardError
from quantguard.kernels import backends, choose_backend, resolve
from quantguard.kernels.cpu import int8_linear, weight_only_linear
from quantguard.kernels.cpu.compiled import amx, weight_only
from quantguard.numerics import dequantize
from quantguard.records import QuantArgs
from quantguard.rounding import nearest

TOKENS, INPUTS, OUTPUTS = (1, 63, 123), (1, 63, 256), (1, 63, 123)
SHAPES = list(itertools.product(TOKENS, INPUTS, OUTPUTS))
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
LINEARS = {"int8_linear": 8, "int4_linear": 4}


def tokenwise(num_bits: int, clip_ratio: float = 1.0) -> QuantArgs:
    return QuantArgs(num_bits=num_bits, strategy="token", dynamic=True, clip_ratio=clip_ratio)


def having(op: str) -> list[str]:
    """List the backends besides the reference that have an op."""
    found = []
    for backend in backends():
        try:
            resolve(op, backend)
        except QuantguardError:
            continue
        found.append(backend)
    # What an NPU computes has tolerances: tests/kernels/test_ascend.py.
    return [name for name in found if name not in ("reference", "ascend")]


BODIES = [(op, backend) for op in LINEARS for backend in having(op)]


@pytest.fixture(autouse=True)
def poison_empty_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill what torch.empty returns, so that a value read before it is written shows."""
    empty = torch.empty

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = empty(*args, **kwargs)
        return tensor.fill_(float("nan") if tensor.is_floating_point() else 77)

    monkeypatch.setattr(torch, "empty", poisoned)


def inputs(shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    tokens, width, outputs = shape
    x = (torch.randn(tokens, width, generator=generator) * 10).to(dtype)
    return x, torch.randn(outputs, width, generator=generator), torch.randn(outputs, generator=generator)


def assert_linear_agrees(
    op: str,
    candidate: types.ModuleType,
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    *,
    activation_bits: int,
    group_size: int | None = None,
) -> None:
    x, weight, bias = inputs(shape, dtype)
    args = QuantArgs(num_bits=LINEARS[op], strategy="group" if group_size else "channel", group_size=group_size)
    tensor = nearest.quantize_weight(weight, args, stats=None, options={})
    q, scale = resolve("quantize_per_token", "reference").apply(x, args=tokenwise(activation_bits))
    reference = resolve(op, "reference")
    for given in (None, bias):
        expected = reference.apply(q, scale, reference.pack(tensor), given, args=args, output_dtype=dtype)
        found = candidate.apply(q, scale, candidate.pack(tensor), given, args=args, output_dtype=dtype)
        assert found.dtype == dtype
        assert torch.equal(found, expected)
        if hasattr(candidate, "quantize_and_apply"):
            at_once = {"args": args, "input_args": tokenwise(activation_bits)}
            found = candidate.quantize_and_apply(x, candidate.pack(tensor), given, **at_once)
            assert found.dtype == dtype
            assert torch.equal(found, expected)


@pytest.mark.parametrize("backend", having("quantize_per_token"))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("clip_ratio", [1.0, 0.9], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("num_bits", [4, 8])
def test_per_token_quantization_agrees(backend: str, dtype: torch.dtype, num_bits: int, clip_ratio: float) -> None:
    args = tokenwise(num_bits, clip_ratio)
    candidate = resolve("quantize_per_token", backend)
    for shape in SHAPES:
        x, _, _ = inputs(shape, dtype)
        expected = resolve("quantize_per_token", "reference").apply(x, args=args)
        found = candidate.apply(x, args=args)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("backend", having("quantize_per_token"))
def test_per_token_quantization_of_zeros_and_of_ties(backend: str) -> None:
    candidate = resolve("quantize_per_token", backend)
    x = torch.tensor([[0.0, 0.0], [127.0, 0.5], [127.0, 1.5], [-127.0, -2.5]])
    q, scale = candidate.apply(x, args=tokenwise(8))
    assert q.tolist() == [[0, 0], [127, 0], [127, 2], [-127, -2]]
    assert torch.equal(scale[0], torch.tensor([1e-30]))


@pytest.mark.parametrize("backend", having("quantize_per_token"))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_nan_is_not_lost(backend: str, dtype: torch.dtype) -> None:
    x = torch.ones(2, 8, dtype=dtype)
    x[1, 3] = float("nan")
    _, scale = resolve("quantize_per_token", backend).apply(x, args=tokenwise(8))
    assert scale.isnan().flatten().tolist() == [False, True]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("op", "backend"), BODIES, ids=[f"{op} on {backend}" for op, backend in BODIES])
def test_integer_linears_agree(op: str, backend: str, dtype: torch.dtype) -> None:
    candidate = resolve(op, backend)
    for shape in SHAPES:
        for activation_bits in (4, 8):
            assert_linear_agrees(op, candidate, shape, dtype, activation_bits=activation_bits)


@pytest.mark.parametrize("op", LINEARS)
def test_the_product_of_a_cpu_without_amx_agrees_too(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx, "is_available", lambda: False)
    candidate = resolve(op, "cpu")
    for shape in SHAPES:
        assert_linear_agrees(op, candidate, shape, torch.float32, activation_bits=8)
    # The tokens laid out in place of the weight, as for a large one.
    monkeypatch.setattr(int8_linear, "_LARGE_WEIGHT", 0)
    for shape in SHAPES:
        assert_linear_agrees(op, candidate, shape, torch.float32, activation_bits=8)
    group = QuantArgs(num_bits=4, strategy="group", group_size=64)
    assert "on a CPU without AMX" in str(candidate.unsupported(group))


@pytest.mark.skipif(not amx.is_available(), reason="this CPU has no AMX")
@pytest.mark.parametrize("threads", [1, 2, 5], ids="{} threads".format)
@pytest.mark.parametrize("group_size", [None, 64, 192, 1024], ids="groups of {}".format)
@pytest.mark.parametrize("op", LINEARS)
def test_tiles_agree_beyond_a_block_of_rows_and_a_chunk_of_inputs(
    op: str, group_size: int | None, threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for shape in ((17, 1100, 33), (33, 640, 97), (289, 704, 64), (1290, 70, 33)):
            for dtype in DTYPES:
                assert_linear_agrees(op, resolve(op, "cpu"), shape, dtype, activation_bits=8, group_size=group_size)
    finally:
        torch.set_num_threads(before)


WEIGHT_ONLY = {
    "W8 per channel": QuantArgs(num_bits=8, strategy="channel"),
    "W8 in asymmetric groups of 64": QuantArgs(num_bits=8, strategy="group", group_size=64, symmetric=False),
    "W4 in groups of 128": QuantArgs(num_bits=4, strategy="group", group_size=128),
    "W4 asymmetric per channel": QuantArgs(num_bits=4, strategy="channel", symmetric=False),
    "W3 in asymmetric groups of 192": QuantArgs(num_bits=3, strategy="group", group_size=192, symmetric=False),
}


def assert_weight_only_agrees(candidate: Any, shape: tuple[int, int, int], dtype: torch.dtype, args: QuantArgs) -> None:
    x, weight, bias = inputs(shape, dtype)
    tensor = nearest.quantize_weight(weight, args, stats=None, options={})
    reference = resolve("weight_only_linear", "reference")
    magnitude = x.double().abs() @ dequantize(tensor).double().abs().t() + bias.abs()
    for given in (None, bias):
        expected = reference.apply(x, reference.pack(tensor), given, args=args)
        found = candidate.apply(x, candidate.pack(tensor), given, args=args)
        assert found.dtype == dtype
        assert ((found.double() - expected.double()).abs() <= candidate.TOLERANCE[dtype] * magnitude).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", WEIGHT_ONLY)
def test_weight_only_linears_agree(name: str, dtype: torch.dtype) -> None:
    candidate = resolve("weight_only_linear", "cpu")
    for shape in [*SHAPES, (4, 1100, 33), (5, 1100, 33)]:
        assert_weight_only_agrees(candidate, shape, dtype, WEIGHT_ONLY[name])


@pytest.mark.parametrize("name", [name for name in WEIGHT_ONLY if not name.startswith("W8")])
def test_weight_only_linears_agree_on_a_cpu_without_tables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_only, "has_tables", lambda: False)
    candidate = resolve("weight_only_linear", "cpu")
    for shape, dtype in itertools.product([(1, 63, 63), (4, 1100, 33), (5, 1100, 33)], DTYPES):
        assert_weight_only_agrees(candidate, shape, dtype, WEIGHT_ONLY[name])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_weight_that_is_dequantized_in_panels_agrees(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    # Panels of 7 outputs and fewer, the last of 2 or 4.
    monkeypatch.setattr(weight_only_linear, "_PANEL_BYTES", 7 * 384 * 4)
    for args in WEIGHT_ONLY.values():
        assert_weight_only_agrees(weight_only_linear, (9, 300, 123), dtype, args)


def test_the_weight_only_comparison_catches_a_panel_that_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_only_linear, "_PANEL_BYTES", 7 * 384 * 4)
    write, calls = weight_only.dequantize, itertools.count()
    monkeypatch.setattr(weight_only, "dequantize", lambda *terms: None if next(calls) == 3 else write(*terms))
    with pytest.raises(AssertionError):
        assert_weight_only_agrees(weight_only_linear, (9, 300, 123), torch.float32, WEIGHT_ONLY["W8 per channel"])


@pytest.mark.parametrize("tokens", [1, 63])
@pytest.mark.parametrize("name", WEIGHT_ONLY)
def test_the_weight_only_comparison_catches(name: str, tokens: int) -> None:
    body, args = resolve("weight_only_linear", "cpu"), WEIGHT_ONLY[name]
    turned = _packing(lambda t: dataclasses.replace(t, data=t.data.flip(1)))(body)
    shifted = _packing(lambda t: dataclasses.replace(t, scale=t.scale.roll(1, dims=1 if args.group_size else 0)))(body)
    for broken in (turned, shifted):
        broken.TOLERANCE = body.TOLERANCE
        with pytest.raises(AssertionError):
            assert_weight_only_agrees(broken, (tokens, 640, 123), torch.float32, args)


@pytest.mark.parametrize("backend", having("int8_linear"))
def test_the_largest_sums_do_not_overflow(backend: str) -> None:
    candidate = resolve("int8_linear", backend)
    args = QuantArgs(num_bits=8, strategy="channel")
    width = 2048
    tensor = nearest.quantize_weight(torch.ones(16, width), args, stats=None, options={})
    x, scale = torch.full((2, width), -127, dtype=torch.int8), torch.ones(2, 1)
    found = candidate.apply(x, scale, candidate.pack(tensor), None, args=args, output_dtype=torch.float32)
    reference = resolve("int8_linear", "reference")
    expected = reference.apply(x, scale, reference.pack(tensor), None, args=args, output_dtype=torch.float32)
    assert torch.equal(found, expected)


def _without(argument: str) -> Any:
    def breaks(module: types.ModuleType) -> types.ModuleType:
        def apply(x: Any, x_scale: Any, weight: Any, bias: Any, **settings: Any) -> Any:
            given = {"x_scale": x_scale, "bias": bias}
            given[argument] = torch.ones_like(x_scale) if argument == "x_scale" else None
            return module.apply(x, given["x_scale"], weight, given["bias"], **settings)

        return types.SimpleNamespace(apply=apply, pack=module.pack)  # type: ignore[return-value]

    return breaks


def _packing(change: Any) -> Any:
    def breaks(module: types.ModuleType) -> types.ModuleType:
        def pack(tensor: Any) -> Any:
            return module.pack(change(tensor))

        return types.SimpleNamespace(apply=module.apply, pack=pack)  # type: ignore[return-value]

    return breaks


def _with(tensor: Any, **changes: Any) -> Any:
    return type(tensor)(
        **{"data": tensor.data, "scale": tensor.scale, "zero_point": None, "args": tensor.args} | changes
    )


FAULTS = {
    "the bias is forgotten": _without("bias"),
    "the token scale is forgotten": _without("x_scale"),
    "the weight scale is shifted by one channel": _packing(lambda t: _with(t, scale=t.scale.roll(1, dims=0))),
    "the weight scale is dropped": _packing(lambda t: _with(t, scale=torch.ones_like(t.scale))),
    "two columns are swapped": _packing(lambda t: _with(t, data=t.data.flip(1))),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("op", LINEARS)
def test_the_comparison_catches(op: str, fault: str) -> None:
    broken = FAULTS[fault](resolve(op, "cpu"))
    with pytest.raises(AssertionError):
        assert_linear_agrees(op, broken, (63, 64, 123), torch.float32, activation_bits=8)


@pytest.mark.skipif(not amx.is_available(), reason="this CPU has no AMX, and its kernels no groups")
@pytest.mark.parametrize("op", LINEARS)
def test_the_comparison_catches_a_group_with_its_neighbours_scale(op: str) -> None:
    broken = _packing(lambda t: _with(t, scale=t.scale.roll(1, dims=1)))(resolve(op, "cpu"))
    with pytest.raises(AssertionError):
        assert_linear_agrees(op, broken, (63, 256, 123), torch.float32, activation_bits=8, group_size=64)


def test_the_comparison_catches_a_cast_that_wraps() -> None:
    body = resolve("quantize_per_token", "cpu")
    x, args = torch.tensor([[1.0, -1.0, 0.5]]), tokenwise(8, clip_ratio=0.5)
    q, scale = body.apply(x, args=args)
    assert torch.equal(q, resolve("quantize_per_token", "reference").apply(x, args=args)[0])
    assert not torch.equal(q, torch.round(x / scale).to(torch.int32).to(torch.int8))


def test_auto_takes_the_cpu_kernel_where_it_can_and_the_reference_elsewhere() -> None:
    channel = QuantArgs(num_bits=8, strategy="channel")
    group = QuantArgs(num_bits=8, strategy="group", group_size=32)
    assert choose_backend("int8_linear", channel, requested="auto", device_type="cpu") == "cpu"
    assert choose_backend("int8_linear", group, requested="auto", device_type="cpu") == "reference"


@pytest.mark.parametrize(
    ("op", "backend", "complaint"),
    [
        pytest.param("int8_linear", "gpu", "unknown kernel backend 'gpu'", id="unknown backend"),
        pytest.param("rotate", "triton", "the 'triton' backend has no rotate", id="op not there"),
        pytest.param("int8_linear", "ascend", "it runs on npu or emulated-910b", id="device of another backend"),
        pytest.param(
            "int8_linear", "cpu", "8-bit symmetric weights per group of 32 on a cpu", id="weights that do not fit"
        ),
    ],
)
def test_a_backend_that_was_asked_for_runs_or_raises(op: str, backend: str, complaint: str) -> None:
    group = QuantArgs(num_bits=8, strategy="group", group_size=32)
    with pytest.raises(QuantguardError, match=complaint):
        choose_backend(op, group, requested=backend, device_type="cpu")


SATURATING = """
import torch
from quantguard.errors import KernelError
from quantguard.kernels import choose_backend
from quantguard.kernels.cpu import int8_linear
from quantguard.records import QuantArgs

channel = QuantArgs(num_bits=8, strategy="channel")
print(choose_backend("int8_linear", channel, requested="auto", device_type="cpu"))
try:
    choose_backend("int8_linear", channel, requested="cpu", device_type="cpu")
except KernelError as error:
    print(error)
"""


@pytest.mark.timeout(120)
@pytest.mark.skipif(amx.is_available(), reason="tiles do without torch's product")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN is told to do without an instruction of x86-64")
def test_a_cpu_whose_product_saturates_gets_the_reference_and_says_why() -> None:
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SATURATING]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "reference"
    assert "torch's int8 product saturates on this CPU" in lines[1]


@pytest.mark.parametrize("limit", [32640, 2**31 - 1], ids=["saturating", "exact"])
def test_the_probe_tells_a_product_that_saturates(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def multiply(x: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        return (x.long() @ data.long().t()).clamp(-limit, limit).int()

    monkeypatch.setattr(int8_linear, "_multiply", multiply)
    assert int8_linear.product_is_exact.__wrapped__() == (limit > 32640)


def test_an_npu_gets_no_cpu_kernel_in_silence() -> None:
    with pytest.raises(QuantguardError, match="no kernel for int8_linear"):
        choose_backend(
            "int8_linear", QuantArgs(num_bits=8, strategy="group", group_size=32), requested="auto", device_type="npu"
        )
