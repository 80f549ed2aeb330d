"""Overrides of single layers, and recipes written back to TOML."""

import pathlib

import pytest

from quantguard import recipes
from quantguard.errors import QuantguardError
from quantguard.recipes import dump_recipe, load_recipe
from quantguard.records import Override, QuantArgs, Recipe

LOW, HIGH = QuantArgs(num_bits=4, strategy="channel"), QuantArgs(num_bits=8, strategy="channel")


def test_the_first_override_that_matches_holds() -> None:
    overrides = (
        Override(targets=("model.layers.0.*",), weights=HIGH),
        Override(targets=("down_proj",), weights=QuantArgs(num_bits=6, strategy="channel")),
    )
    recipe = Recipe(name="mixed", weights=LOW, ignore=("lm_head", "model.layers.2.*"), overrides=overrides)

    def bits(name: str) -> int | None:
        args = recipe.layer_args(name)
        return None if args is None else args.weights.num_bits

    names = ("model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj", "model.layers.1.mlp.up_proj")
    assert [bits(name) for name in names] == [8, 6, 4]
    assert bits("model.layers.2.mlp.up_proj") is None


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_survives_being_written(name: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "again.toml"
    path.write_text(dump_recipe(load_recipe(name)), encoding="utf-8")
    assert load_recipe(path) == load_recipe(name)


def test_an_override_that_sets_nothing_is_refused() -> None:
    with pytest.raises(QuantguardError, match="an override has targets"):
        Override(targets=("down_proj",))


def test_an_override_is_part_of_the_fingerprint() -> None:
    plain = Recipe(name="x", weights=LOW)
    mixed = Recipe(name="x", weights=LOW, overrides=(Override(targets=("down_proj",), weights=HIGH),))
    assert plain.fingerprint != mixed.fingerprint
