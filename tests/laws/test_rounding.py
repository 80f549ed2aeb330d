"""The law of roundings: on correlated inputs the output error is no worse than that of nearest."""

import dataclasses
from typing import Any

import pytest
import torch

from quantguard.errors import QuantguardError
from quantguard.modeling import InputStats
from quantguard.numerics import QuantTensor, dequantize
from quantguard.records import QuantArgs
from quantguard.rounding import Rounding, gptq, members, nearest

SETTINGS = {
    "4 bits per channel": QuantArgs(num_bits=4, strategy="channel"),
    "4 bits in groups of 32, asymmetric": QuantArgs(num_bits=4, strategy="group", group_size=32, symmetric=False),
    "3 bits in groups of 50, the last one short": QuantArgs(num_bits=3, strategy="group", group_size=50),
    "8 bits per channel": QuantArgs(num_bits=8, strategy="channel"),
}
CODES = {f"E8P at {bits} bits": QuantArgs(num_bits=bits, type="e8p", strategy="channel") for bits in (2, 3, 4)}
WIDTH = 123
# Codes take eight inputs at once.
CODED_WIDTH = 136
CASES = [
    (name, setting)
    for name in members
    for setting, args in {**SETTINGS, **CODES}.items()
    if args.type in members[name].WEIGHT_TYPES
]


def correlated_inputs(seed: int, width: int = WIDTH) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(24, width, generator=generator)
    return torch.randn(600, 24, generator=generator) @ mixing + 0.3 * torch.randn(600, width, generator=generator)


def stats_of(x: torch.Tensor) -> InputStats:
    return InputStats(num_tokens=len(x), largest=x.abs().amax(dim=0), abs_sum=x.abs().sum(dim=0), gram=x.t() @ x)


def output_error(rounding: Rounding | Any, args: QuantArgs, seed: int, width: int) -> float:
    x = correlated_inputs(seed, width)
    weight = torch.randn(63, width, generator=torch.Generator().manual_seed(seed + 1000))
    tensor = rounding.quantize_weight(weight, args, stats=stats_of(x), options={})
    if isinstance(tensor, QuantTensor):
        assert tensor.data.min() >= args.minimum
        assert tensor.data.max() <= args.maximum
    return float((x @ (dequantize(tensor) - weight).t()).square().mean())


def assert_no_worse_than_nearest(rounding: Rounding | Any, args: QuantArgs) -> None:
    width = CODED_WIDTH if args.type == "e8p" else WIDTH
    plain = dataclasses.replace(args, type="int")
    for seed in range(5):
        bound = output_error(nearest, plain, seed, width) * (1 + 1e-9)
        assert output_error(rounding, args, seed, width) <= bound


@pytest.mark.parametrize(("name", "setting"), CASES, ids=[f"{name}, {setting}" for name, setting in CASES])
def test_the_output_error_is_no_worse_than_nearest(name: str, setting: str) -> None:
    assert_no_worse_than_nearest(members[name], {**SETTINGS, **CODES}[setting])


def test_gptq_is_much_better_than_nearest_on_correlated_inputs() -> None:
    args = SETTINGS["4 bits per channel"]
    assert output_error(gptq, args, 0, WIDTH) < 0.5 * output_error(nearest, args, 0, WIDTH)


class _Broken:
    """GPTQ with its statistics or its result spoiled."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def quantize_weight(self, weight: torch.Tensor, args: QuantArgs, *, stats: InputStats, options: Any) -> QuantTensor:
        gram = stats.gram
        assert gram is not None
        if self.fault == "the Hessian's columns are out of order":
            stats = InputStats(
                num_tokens=1, largest=stats.absmax, abs_sum=stats.abs_sum, gram=gram.roll((1, 1), dims=(0, 1))
            )
        tensor: QuantTensor = gptq.quantize_weight(weight, args, stats=stats, options=options)
        data = tensor.data
        if self.fault == "every tenth column is rounded down":
            data = data.clone()
            data[:, ::10] = (data[:, ::10] - 1).clamp_min(args.minimum)
        if self.fault == "the columns are left in act-order":
            data = data[:, torch.argsort(gram.diagonal(), descending=True)]
        return QuantTensor(data=data, scale=tensor.scale, zero_point=tensor.zero_point, args=args)


@pytest.mark.parametrize(
    "fault",
    [
        "the Hessian's columns are out of order",
        "every tenth column is rounded down",
        "the columns are left in act-order",
    ],
)
def test_the_law_catches(fault: str) -> None:
    with pytest.raises(AssertionError):
        assert_no_worse_than_nearest(_Broken(fault), SETTINGS["4 bits per channel"])


def test_gptq_sets_inputs_aside_that_never_fired() -> None:
    x = correlated_inputs(0)
    x[:, 7] = 0
    weight = torch.randn(5, WIDTH)
    args = SETTINGS["4 bits per channel"]
    tensor = gptq.quantize_weight(weight, args, stats=stats_of(x), options={})
    assert not tensor.data[:, 7].any()


def test_gptq_raises_its_damping_where_inputs_are_degenerate() -> None:
    x = torch.randn(4, 1).expand(4, WIDTH).clone()
    stats = stats_of(x)
    args = SETTINGS["4 bits per channel"]
    tensor = gptq.quantize_weight(torch.randn(5, WIDTH), args, stats=stats, options={"damping": 1e-18})
    assert torch.isfinite(dequantize(tensor)).all()


@pytest.mark.parametrize(
    ("stats", "options", "complaint"),
    [
        pytest.param(None, {}, "needs the Gram matrix", id="no statistics"),
        pytest.param("nan", {}, "NaN or infinity", id="NaN in the inputs"),
        pytest.param(
            "good",
            {"dampening": 1},
            "unknown option 'dampening'; possible: act_order, damping, mse",
            id="unknown option",
        ),
    ],
)
def test_gptq_refuses(stats: str | None, options: dict[str, Any], complaint: str) -> None:
    given = None if stats is None else stats_of(correlated_inputs(0) * (float("nan") if stats == "nan" else 1))
    with pytest.raises(QuantguardError, match=complaint):
        gptq.quantize_weight(torch.randn(5, WIDTH), SETTINGS["4 bits per channel"], stats=given, options=options)
