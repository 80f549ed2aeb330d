"""The law of transforms: the float function stays. It runs over every transform that is found on disk."""

import types
from typing import Any

import pytest
import torch
from families import FAMILIES, build, logits, tokens

from quantguard import registry
from quantguard.errors import QuantguardError
from quantguard.modeling import Block, InputStats, find_blocks, observe_inputs

LARGEST_CHANGE = 1e-10


def assert_keeps_the_function(transform: types.ModuleType | Any, family: str) -> None:
    loaded = build(family)
    before = logits(loaded)
    blocks = find_blocks(loaded.model)
    stats = observe_inputs(loaded, blocks, tokens(), gram=False)
    weights = [linear.weight.clone() for block in blocks for group in block.groups for linear in group.linears]
    transform.apply(blocks, stats, {})
    after = [linear.weight for block in blocks for group in block.groups for linear in group.linears]
    assert any(not torch.equal(a, b) for a, b in zip(weights, after, strict=True)), "the transform changed nothing"
    change = (logits(loaded) - before).norm() / before.norm()
    assert change < LARGEST_CHANGE


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", list(registry.transforms))
def test_the_function_stays(name: str, family: str) -> None:
    assert_keeps_the_function(registry.transforms[name], family)


@pytest.mark.parametrize("name", list(registry.transforms))
def test_the_statistics_are_those_of_the_transformed_model(name: str) -> None:
    loaded = build("llama")
    blocks = find_blocks(loaded.model)
    stats = registry.transforms[name].apply(blocks, observe_inputs(loaded, blocks, tokens(), gram=True), {})
    for layer, seen in observe_inputs(loaded, blocks, tokens(), gram=True).items():
        torch.testing.assert_close(stats[layer].absmax, seen.absmax, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(stats[layer].gram, seen.gram, rtol=1e-3, atol=1e-2)


def norm_weight(block: Block) -> torch.Tensor:
    """Return the weight of the norm in front of q, k and v."""
    norm = block.groups[0].norm
    assert norm is not None
    weight = norm.weight
    assert isinstance(weight, torch.Tensor)
    return weight


class _Broken:
    """SmoothQuant with one part left out."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def apply(self, blocks: list[Block], stats: dict[str, InputStats], options: dict[str, Any]) -> Any:
        norm, (q, _, v) = norm_weight(blocks[0]), blocks[0].groups[0].linears
        norm_before, v_before = norm.detach().clone(), v.weight.detach().clone()
        smoothed = registry.transforms["smoothquant"].apply(blocks, stats, options)
        with torch.no_grad():
            if self.fault == "the norm is not divided":
                norm.copy_(norm_before)
            if self.fault == "v_proj is forgotten":
                v.weight.copy_(v_before)
            if self.fault == "a divisor is off by a millionth":
                norm.mul_(1 + 1e-6)
            if self.fault == "the bias is scaled too":
                q.bias.mul_(1.01)
        return smoothed


@pytest.mark.parametrize(
    "fault",
    ["the norm is not divided", "v_proj is forgotten", "a divisor is off by a millionth", "the bias is scaled too"],
)
def test_the_law_catches(fault: str) -> None:
    with pytest.raises(AssertionError):
        assert_keeps_the_function(_Broken(fault), "llama with biases")


def test_an_impossible_alpha_is_refused() -> None:
    with pytest.raises(QuantguardError, match="alpha is 2"):
        registry.transforms["smoothquant"].apply([], {}, {"alpha": 2})


@pytest.mark.parametrize("name", list(registry.transforms))
def test_an_unknown_option_is_refused(name: str) -> None:
    with pytest.raises(QuantguardError, match=r"unknown option 'alhpa'; possible: alpha"):
        registry.transforms[name].apply([], {}, {"alhpa": 0.5})


def test_smoothing_brings_an_outlier_channel_down() -> None:
    loaded = build("llama")
    blocks = find_blocks(loaded.model)
    with torch.no_grad():
        norm_weight(blocks[0])[3] = 300.0
    stats = observe_inputs(loaded, blocks, tokens(), gram=False)
    name = blocks[0].groups[0].names[0]
    after = registry.transforms["smoothquant"].apply(blocks, stats, {})[name].absmax

    def spread(absmax: torch.Tensor) -> float:
        return float(absmax.max() / absmax.median())

    assert spread(after) < spread(stats[name].absmax) / 5
