"""Defects that a gate exists for, planted in kernels, packing and recipes: each is named, and noise is not."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from quantguard.kernels.cpu import int8_linear, weight_only_linear
from quantguard.numerics import QuantTensor
from quantguard.records import QuantArgs
from quantguard.rounding import nearest
from tests.support.gate_runs import copy_baselines, junit_failures, run, write_gate

Patch = Callable[[pytest.MonkeyPatch], None]
ONE_LAYER = 3


def in_packing(module: Any, change: Callable[[QuantTensor], QuantTensor], *, layers: range | None = None) -> Patch:
    """Spoil a weight as it is packed, in one layer unless told otherwise."""
    chosen = range(ONE_LAYER, ONE_LAYER + 1) if layers is None else layers

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        pack, count = module.pack, iter(range(10**6))

        def broken(weight: QuantTensor) -> Any:
            return pack(change(weight) if next(count) in chosen else weight)

        monkeypatch.setattr(module, "pack", broken)

    return plant


def swapped_nibbles(data: torch.Tensor) -> torch.Tensor:
    return ((data & 0xF) << 4) | ((data >> 4) & 0xF)


def silently_three_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    quantize_weight = nearest.quantize_weight

    def broken(weight: torch.Tensor, args: QuantArgs, **settings: Any) -> QuantTensor:
        three = quantize_weight(weight, dataclasses.replace(args, num_bits=3), **settings)
        return dataclasses.replace(three, args=args)

    monkeypatch.setattr(nearest, "quantize_weight", broken)


def swapped_nibbles_in_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = weight_only_linear.pack

    def broken(weight: QuantTensor) -> Any:
        packed = pack(weight)
        return packed | {"data": (packed["data"] << 4) | (packed["data"] >> 4)}

    monkeypatch.setattr(weight_only_linear, "pack", broken)


def scale(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[QuantTensor], QuantTensor]:
    return lambda weight: dataclasses.replace(weight, scale=change(weight.scale))


EVERY_LAYER = range(42)
FAULTS: dict[str, tuple[str, Patch]] = {
    "the weight scale of one layer is dropped": ("w8a8", in_packing(int8_linear, scale(torch.ones_like))),
    "the nibbles of one layer's bytes are swapped": (
        "w8a8",
        in_packing(int8_linear, lambda w: dataclasses.replace(w, data=swapped_nibbles(w.data))),
    ),
    "the index of the scale is off by one channel": (
        "w8a8",
        in_packing(int8_linear, scale(lambda s: s.roll(1, dims=0)), layers=EVERY_LAYER),
    ),
    "the recipe is silently made 3-bit": ("w8a8", silently_three_bits),
    "two int4 nibbles are swapped": ("gptq-w4a16", swapped_nibbles_in_packing),
    "the index of the group is off by one": (
        "gptq-w4a16",
        in_packing(weight_only_linear, scale(lambda s: s.roll(1, dims=1)), layers=EVERY_LAYER),
    ),
}


# A model so broken that it finds no end is not called wrong, but what it is. How often it finds one depends on the last
# bits of the other layers, and so on the CPU.
ENDLESS = {"the weight scale of one layer is dropped", "the nibbles of one layer's bytes are swapped"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_red_for_what_it_does(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    recipe, plant = FAULTS[fault]
    write_gate(pytester, recipe)
    copy_baselines(pytester)
    plant(monkeypatch)
    result = run(pytester, "--quantguard-limit=100")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    if fault in ENDLESS and "of this run hit the token limit" in result.stdout.str():
        result.stdout.fnmatch_lines(["*ERROR*accuracy*", "*of this run hit the token limit*", "quantguard: 1 ERROR"])
    else:
        result.stdout.fnmatch_lines(["*REGRESSED*accuracy: word-problems*", "quantguard: 1 REGRESSED"])
    assert junit_failures(pytester) == 1


SAMPLED = """
import quantguard

@quantguard.accuracy(tol=0.1, temperature=0.3, subset=120)
def test_release(guard):
    guard.check("tiny-reasoner", recipe="w8a8")
"""


def test_another_seed_of_the_same_recipe_is_not_regressed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(test_release=SAMPLED)
    run(pytester, "--quantguard-update=new", "--quantguard-seed=0").assert_outcomes(skipped=1)
    for seed in (1, 2):
        result = run(pytester, f"--quantguard-seed={seed}", "--quantguard-inconclusive=warn")
        result.assert_outcomes(passed=1)
        assert "REGRESSED" not in result.stdout.str()
