"""Kernels read what a tensor holds however it lies in memory, and write all of what they return, however much it is."""

import dataclasses
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from quantguard import numerics
from quantguard.errors import QuantguardError
from quantguard.kernels import backends, resolve
from quantguard.kernels.ascend.device import emulate
from quantguard.numerics import KVQuantizer, QuantTensor
from quantguard.numerics.hadamard import hadamard_matrix
from quantguard.records import QuantArgs
from quantguard.rounding import nearest

TOKENWISE = QuantArgs(num_bits=8, strategy="token", dynamic=True)
WEIGHTS = {
    "int8_linear": QuantArgs(num_bits=8, strategy="channel"),
    "int4_linear": QuantArgs(num_bits=4, strategy="channel"),
    "weight_only_linear": QuantArgs(num_bits=4, strategy="group", group_size=64),
}
Call = Callable[[types.ModuleType | Any, dict[str, torch.Tensor]], Any]


@pytest.fixture(autouse=True)
def _on_two_threads_and_an_emulated_npu() -> Iterator[None]:
    emulate()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def having(op: str) -> list[str]:
    found = []
    for backend in backends():
        try:
            resolve(op, backend)
        except QuantguardError:
            continue
        found.append(backend)
    return found


def quantize_per_token(body: types.ModuleType, given: dict[str, torch.Tensor]) -> Any:
    return body.apply(given["x"], args=TOKENWISE)


def quantize_per_tensor(body: types.ModuleType, given: dict[str, torch.Tensor]) -> Any:
    return body.apply(given["x"], given["scale"], args=QuantArgs(num_bits=8, strategy="tensor"))


def rotate(body: types.ModuleType, given: dict[str, torch.Tensor]) -> Any:
    return body.apply(given["x"], None, given["right"])


def rotate_quantize_per_token(body: types.ModuleType, given: dict[str, torch.Tensor]) -> Any:
    return body.apply(given["x"], None, given["right"], args=TOKENWISE)


def kv_cache(body: types.ModuleType, given: dict[str, torch.Tensor]) -> Any:
    quantizer = KVQuantizer(args=TOKENWISE)
    stored = body.store(given["keys"], quantizer)
    return *stored.values(), body.restore(stored, quantizer, output_dtype=torch.bfloat16)


def _weight(given: dict[str, torch.Tensor], args: QuantArgs) -> QuantTensor:
    tensor = nearest.quantize_weight(given["weight"], args, stats=None, options={})
    assert isinstance(tensor, QuantTensor)
    # What comes out of a file or a rounding need not lie as it is read either.
    return dataclasses.replace(tensor, data=otherwise(tensor.data), scale=otherwise(tensor.scale))


def integer_linear(op: str) -> Call:
    def call(body: types.ModuleType, given: dict[str, torch.Tensor]) -> Any:
        packed = body.pack(_weight(given, WEIGHTS[op]))
        settings = {"args": WEIGHTS[op], "output_dtype": torch.bfloat16}
        return body.apply(given["q"], given["x_scale"], packed, given["bias"], **settings)

    return call


def fused_linear(op: str) -> Call:
    def call(body: types.ModuleType, given: dict[str, torch.Tensor]) -> Any:
        packed = body.pack(_weight(given, WEIGHTS[op]))
        return body.quantize_and_apply(given["x"], packed, given["bias"], args=WEIGHTS[op], input_args=TOKENWISE)

    return call


def weight_only_linear(body: types.ModuleType, given: dict[str, torch.Tensor]) -> Any:
    args = WEIGHTS["weight_only_linear"]
    return body.apply(given["x"], body.pack(_weight(given, args)), given["bias"], args=args)


CALLS: dict[str, Call] = {
    "quantize_per_token": quantize_per_token,
    "quantize_per_tensor": quantize_per_tensor,
    "rotate": rotate,
    "rotate_quantize_per_token": rotate_quantize_per_token,
    "kv_cache": kv_cache,
    "int8_linear": integer_linear("int8_linear"),
    "int4_linear": integer_linear("int4_linear"),
    "weight_only_linear": weight_only_linear,
}
CASES = [(op, backend, op) for op in CALLS for backend in having(op)]
FUSED = [
    (f"{op}, quantizing", backend, op)
    for op in ("int8_linear", "int4_linear")
    for backend in having(op)
    if hasattr(resolve(op, backend), "quantize_and_apply")
]
CALLS |= {f"{op}, quantizing": fused_linear(op) for op in ("int8_linear", "int4_linear")}
ALL = [pytest.param(*case, id=f"{case[0]} on {case[1]}") for case in CASES + FUSED]


def inputs(num_tokens: int, *, outputs: int = 64) -> dict[str, torch.Tensor]:
    """Make what the ops take; tokens of 128 channels, which are rotated in blocks of 64."""
    generator = torch.Generator().manual_seed(num_tokens)
    x = (torch.randn(num_tokens, 128, generator=generator) * 3).to(torch.bfloat16)
    q, x_scale = numerics.quantize_tokens(x, TOKENWISE)
    return {
        "x": x,
        "q": q,
        "x_scale": x_scale,
        "scale": torch.full((1, 1), 0.05),
        "right": hadamard_matrix(64).to(torch.bfloat16),
        "keys": torch.randn(1, 2, num_tokens, 64, generator=generator).to(torch.bfloat16),
        "weight": torch.randn(outputs, 128, generator=generator),
        "bias": torch.randn(outputs, generator=generator),
    }


def otherwise(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same values as every second one of a larger tensor, turned around, that begins in its middle."""
    turned = tensor.permute(*reversed(range(tensor.dim())))
    room = torch.full([2 * size + 1 for size in turned.shape], 77, dtype=tensor.dtype)
    view = room[tuple(slice(1, None, 2) for _ in turned.shape)]
    view.copy_(turned)
    return view.permute(*reversed(range(tensor.dim())))


def results(value: Any) -> tuple[torch.Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def assert_layout_does_not_matter(body: types.ModuleType | Any, call: Call) -> None:
    for num_tokens in (1, 5, 63):
        plain = inputs(num_tokens)
        expected = results(call(body, plain))
        for name, tensor in plain.items():
            found = results(call(body, plain | {name: otherwise(tensor)}))
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), name


def test_what_lies_otherwise_has_the_same_values() -> None:
    tensor = torch.arange(24.0).view(2, 3, 4)
    assert torch.equal(otherwise(tensor), tensor)
    assert not otherwise(tensor).is_contiguous()


@pytest.mark.parametrize(("call", "backend", "op"), ALL)
def test_how_inputs_lie_in_memory_does_not_matter(call: str, backend: str, op: str) -> None:
    assert_layout_does_not_matter(resolve(op, backend), CALLS[call])


class _ReadsOn:
    """A body that reads its activations as if they lay row by row."""

    def __init__(self, body: types.ModuleType) -> None:
        self.pack, self._apply = getattr(body, "pack", None), body.apply

    def apply(self, x: torch.Tensor, *rest: Any, **settings: Any) -> Any:
        lying = torch.empty(x.shape, device="meta").stride()
        return self._apply(x.as_strided(x.shape, lying), *rest, **settings)


@pytest.mark.parametrize("op", ["quantize_per_token", "int8_linear", "weight_only_linear"])
def test_the_comparison_catches_a_body_that_reads_on(op: str) -> None:
    with pytest.raises(AssertionError):
        assert_layout_does_not_matter(_ReadsOn(resolve(op, "cpu")), CALLS[op])


# Ops whose result is the larger the more tokens there are; just over a million of outputs.
LARGE = [case for case in ALL if case.values[2] not in ("rotate", "rotate_quantize_per_token", "kv_cache")]


def assert_a_million_outputs_are_all_written(body: types.ModuleType | Any, call: Call) -> None:
    """Hold a result of many numbers against that of its parts, after another has been in the same memory."""
    given = inputs(8200, outputs=131)
    call(body, given | {name: given[name].flip(0) for name in ("x", "q", "x_scale")})
    found = results(call(body, given))
    assert found[0].numel() > 1_000_000
    tokens = [slice(start, start + 1000) for start in range(0, 8200, 1000)]
    parts = [call(body, given | {name: given[name][part] for name in ("x", "q", "x_scale")}) for part in tokens]
    for index, tensor in enumerate(found):
        expected = torch.cat([results(part)[index] for part in parts])
        assert torch.equal(tensor, expected)


@pytest.mark.parametrize(("call", "backend", "op"), LARGE)
def test_more_than_a_million_outputs_are_all_written(call: str, backend: str, op: str) -> None:
    if backend == "triton":
        pytest.skip("a million numbers take the interpreter minutes; its blocks do not depend on their number")
    assert_a_million_outputs_are_all_written(resolve(op, backend), CALLS[call])


class _LeavesStale:
    """A body that does not write every 4,096th output where there are more than a million."""

    def __init__(self, body: types.ModuleType) -> None:
        self.pack, self._apply, self._before = getattr(body, "pack", None), body.apply, torch.zeros(0)

    def apply(self, *given: Any, **settings: Any) -> Any:
        first, *rest = results(self._apply(*given, **settings))
        if self._before.numel() == first.numel() > 1_000_000:
            first.view(-1)[::4096] = self._before.view(-1)[::4096]
        self._before = first
        return (first, *rest) if rest else first


@pytest.mark.parametrize("op", ["quantize_per_token", "int8_linear", "weight_only_linear"])
def test_the_comparison_catches_stale_outputs(op: str) -> None:
    with pytest.raises(AssertionError):
        assert_a_million_outputs_are_all_written(_LeavesStale(resolve(op, "cpu")), CALLS[op])


# Powers of ten from a hundred times the smallest scale's range up to where sums stay finite in float32.
MAGNITUDES = torch.logspace(-26, 34, 61)


def assert_scales_follow_the_values(body: types.ModuleType | Any) -> None:
    """Hold scales against the formula at every magnitude, and zeros against the one number that stands for them."""
    x = torch.tensor([[1.0, -0.4, 0.25]]) * MAGNITUDES[:, None]
    q, scale = body.apply(x, args=TOKENWISE)
    assert torch.equal(scale[:, 0], MAGNITUDES / 127)
    assert (q.int() == torch.tensor([[127, -51, 32]])).all()
    q, scale = body.apply(torch.zeros(2, 3), args=TOKENWISE)
    assert torch.equal(scale, torch.full((2, 1), 1e-30))
    assert not q.any()


@pytest.mark.parametrize("backend", [name for name in having("quantize_per_token") if name != "ascend"])
def test_scales_follow_the_values_at_every_magnitude(backend: str) -> None:
    assert_scales_follow_the_values(resolve("quantize_per_token", backend))


class _WithFloor:
    """A body whose scales have another floor."""

    def __init__(self, floor: float) -> None:
        self._floor = floor

    def apply(self, x: torch.Tensor, *, args: QuantArgs) -> tuple[torch.Tensor, torch.Tensor]:
        scale = (x.abs().amax(1, keepdim=True) / args.maximum).clamp_min(self._floor)
        return torch.nan_to_num(x / scale).round().clamp(args.minimum, args.maximum).to(torch.int8), scale


def test_the_formula_accepts_the_floor_that_is_stated() -> None:
    assert_scales_follow_the_values(_WithFloor(1e-30))


@pytest.mark.parametrize("floor", [0.0, 1e-12, 1e-2], ids="a floor of {}".format)
def test_the_formula_catches(floor: float) -> None:
    with pytest.raises(AssertionError):
        assert_scales_follow_the_values(_WithFloor(floor))
