"""A law over the shipped recipes: leaving out any one of its transforms changes the integers."""

import dataclasses
from typing import Any

import pytest
import torch

import quantguard
from quantguard import recipes
from quantguard.modeling import LoadedModel, find_decoder, folding, rotating
from quantguard.modeling.sites import QKV_INPUT
from quantguard.numerics import QuantTensor
from quantguard.pipeline.block_step import BlockStep
from quantguard.pipeline.quantizing import Journal, calibration_text, quantize_decoder
from quantguard.records import CalibrationArgs, Recipe
from quantguard.transforms import hadamard
from tests.support.families import build

pytestmark = pytest.mark.timeout(600)
# A transform that changes something changes at least this share of the integers of one kind of linear, in every block;
# where it cancels, the order of floating-point sums changes one in ten thousand.
SMALLEST_SHARE = 0.01
FEW = CalibrationArgs(dataset="worked-problems", num_samples=4, max_length=64)
# Few steps, and large ones, so that what is learned is worth keeping.
QUICK: dict[str, dict[str, Any]] = {
    "flatquant": {"epochs": 4, "learning_rate": 5e-3, "warm_up_steps": 0},
    "spinquant": {"steps": 2},
    "ostquant": {"steps": 2},
    "awq": {"grid": 4},
}
SHIPPED = [name for name in recipes.names() if recipes.load_recipe(name).transforms]
CASES = [(name, left_out) for name in SHIPPED for left_out in recipes.load_recipe(name).transforms]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return quantguard.load("tiny-reasoner")


def quick(recipe: Recipe) -> Recipe:
    """Return a recipe that is done sooner: on little text, with few steps, and rounded to nearest."""
    options = {name: recipe.options.get(name, {}) | QUICK.get(name, {}) for name in recipe.transforms}
    return dataclasses.replace(
        recipe, calibration=FEW, rounding="nearest", options={name: found for name, found in options.items() if found}
    )


def without(recipe: Recipe, transform: str) -> Recipe:
    options = {name: found for name, found in recipe.options.items() if name != transform}
    kept = tuple(name for name in recipe.transforms if name != transform)
    return dataclasses.replace(recipe, transforms=kept, options=options)


class _Integers(Journal):
    """Keeps the integers of every linear."""

    def __init__(self) -> None:
        self.found: dict[str, torch.Tensor] = {}

    def block_finished(self, step: BlockStep, *_rest: Any) -> None:
        for name, layer in step.layers.items():
            assert isinstance(layer.weight, QuantTensor)
            self.found[name] = layer.weight.data


def integers(model: LoadedModel, recipe: Recipe) -> dict[str, torch.Tensor]:
    journal, twin = _Integers(), quantguard.load("tiny-reasoner")
    text, _ = calibration_text(model, recipe, FEW)
    quantize_decoder(
        find_decoder(twin.model), recipe, text, FEW, backend="reference", device_type="cpu", journal=journal
    )
    return journal.found


def smallest_change(model: LoadedModel, recipe: Recipe, transform: str) -> float:
    """Return the share of integers that change without a transform: of the linear that most do, in the least block."""
    whole, part = integers(model, recipe), integers(model, without(recipe, transform))
    shares: dict[str, float] = {}
    for name, data in whole.items():
        block = ".".join(name.split(".")[:3])
        shares[block] = max(shares.get(block, 0.0), float((data != part[name]).double().mean()))
    return min(shares.values())


@pytest.mark.parametrize(("name", "left_out"), CASES, ids=[f"{name} without {left_out}" for name, left_out in CASES])
def test_every_transform_of_a_shipped_recipe_changes_integers(name: str, left_out: str, model: LoadedModel) -> None:
    assert smallest_change(model, quick(recipes.load_recipe(name)), left_out) > SMALLEST_SHARE


def test_the_law_catches_a_scale_that_a_rotation_cancels(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "require_no_scale", lambda *_terms: None)
    monkeypatch.setattr(hadamard.Hadamard, "cancels_scales", "")
    recipe = dataclasses.replace(quick(recipes.load_recipe("openpangu-w8a8")), transforms=("smoothquant", "hadamard"))
    assert smallest_change(model, recipe, "smoothquant") < SMALLEST_SHARE
    assert smallest_change(model, recipe, "hadamard") > SMALLEST_SHARE


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.85])
def test_what_scales_a_norm_before_smoothquant_vanishes_in_it(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The product of a scale and SmoothQuant's behind it is SmoothQuant's alone, which is why it is refused."""
    monkeypatch.setattr(folding, "require_no_scale", lambda *_terms: None)
    block = find_decoder(build("llama").model).blocks[0]
    group = block.groups["qkv"]
    generator = torch.Generator().manual_seed(0)
    absmax, scale = (torch.rand(group.in_features, generator=generator).double() + 0.1 for _ in range(2))
    alone = folding.smoothing_divisor(group, absmax, alpha)
    folding.divide(block, QKV_INPUT, scale)
    behind = folding.smoothing_divisor(group, absmax / scale, alpha)
    torch.testing.assert_close(scale * behind, alone)
