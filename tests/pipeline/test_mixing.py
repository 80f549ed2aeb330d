"""A budget of bits goes to linears that servers compute as one together, or to none of them."""

import pathlib
from collections.abc import Sequence

import pytest

import quantguard
from quantguard.checkpoints._stored import fused_apart
from quantguard.errors import RecipeError
from quantguard.modeling import Block, find_decoder
from quantguard.pipeline import checking
from quantguard.pipeline.mixing import MixedPrecision, mix_precision
from quantguard.pipeline.sensitivity import PartSensitivity
from quantguard.recipes import load_recipe
from quantguard.records import Override, QuantArgs, Recipe

EIGHT = QuantArgs(num_bits=8, strategy="channel")
FOUR = load_recipe("w4a8")


def sensitivities(loaded: quantguard.modeling.LoadedModel, damage: dict[str, float]) -> list[PartSensitivity]:
    """Say what each linear does, by the end of its name."""
    return [
        PartSensitivity(
            name=name,
            kl=next((kl for end, kl in damage.items() if name.endswith(end)), 1e-6),
            share=0.0,
            relative_error=0.0,
            num_weights=linear.weight.numel(),
            num_bits=4,
        )
        for block in find_decoder(loaded.model).blocks
        for name, linear in block.linears.items()
    ]


def blocks() -> Sequence[Block]:
    return find_decoder(quantguard.load("tiny-reasoner").model).blocks


def mixed(damage: dict[str, float], *, bits: float, recipe: Recipe = FOUR) -> MixedPrecision:
    loaded = quantguard.load("tiny-reasoner")
    parts = sensitivities(loaded, damage)
    return mix_precision(loaded, recipe, parts, [[5, 6, 7, 8]], better=EIGHT, budget_bits=bits)


@pytest.mark.parametrize("damage", [{"k_proj": 9.0, "v_proj": 5.0}, {"up_proj": 9.0}], ids=["k and v", "up"])
def test_what_is_served_as_one_matrix_gets_one_setting(damage: dict[str, float]) -> None:
    found = mixed(damage, bits=5.0)
    targets = set(found.recipe.overrides[0].targets)
    for fused in (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")):
        for name in [target for target in targets if target.endswith(fused)]:
            assert {f"{name.rpartition('.')[0]}.{part}" for part in fused} <= targets
    assert any(target.endswith(tuple(damage)) for target in targets)
    assert found.effective_bits <= 5.0
    assert list(fused_apart(blocks(), found.recipe.layer_args, file="")) == []


def test_a_linear_that_has_better_weights_already_follows_the_others() -> None:
    own = Override(
        targets=("*.k_proj",),
        weights=QuantArgs(num_bits=8, strategy="group", group_size=32),
        input_activations=FOUR.input_activations,
    )
    recipe = Recipe(name="split", weights=FOUR.weights, input_activations=FOUR.input_activations, overrides=(own,))
    found = mixed({"q_proj": 9.0}, bits=8.0, recipe=recipe)
    assert list(fused_apart(blocks(), found.recipe.layer_args, file="")) == []


def test_a_split_would_be_seen() -> None:
    split = Override(targets=("model.layers.0.self_attn.k_proj",), weights=EIGHT, input_activations=None)
    recipe = Recipe(name="split", weights=FOUR.weights, overrides=(split,))
    assert [defect.tensor for defect in fused_apart(blocks(), recipe.layer_args, file="")] == [
        "model.layers.0.self_attn.k_proj"
    ]


def test_a_budget_too_small_for_any_of_them_is_refused() -> None:
    with pytest.raises(RecipeError, match="served as one"):
        mixed({"k_proj": 9.0}, bits=4.01)


def test_a_mixed_recipe_gives_a_folder_without_warnings_of_fusing(tmp_path: pathlib.Path) -> None:
    found = mixed({"k_proj": 9.0}, bits=5.0)
    folder = quantguard.quantize_to_folder("tiny-reasoner", found.recipe, tmp_path / "mixed", dtype="bfloat16").path
    assert [warning for warning in checking.check(folder).warnings if "serve fuse" in warning.rule] == []
