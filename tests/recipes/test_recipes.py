"""Shipped recipes load, and a recipe that cannot be meant is refused with what is possible."""

import dataclasses
import pathlib

import pytest

from quantguard.errors import QuantguardError
from quantguard.recipes import load_recipe, names
from quantguard.records import QuantArgs, Recipe
from quantguard.records.quantization import _set_fields

GOOD = 'rounding = "nearest"\n[weights]\nnum_bits = 8\nstrategy = "channel"\n'


@pytest.mark.parametrize("name", names())
def test_every_shipped_recipe_loads_and_says_what_it_is(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description.endswith(".")


def test_the_fingerprint_is_of_what_matters() -> None:
    fingerprints = {load_recipe(name).fingerprint for name in names()}
    assert len(fingerprints) == len(names())


def test_a_setting_at_its_default_is_no_part_of_the_fingerprint_and_any_other_is() -> None:
    weights = QuantArgs(num_bits=8, strategy="channel")
    assert _set_fields(weights) == {"num_bits": 8, "strategy": "channel"}
    plain = Recipe(name="x", weights=weights)
    assert plain.fingerprint == dataclasses.replace(plain, ignore=("lm_head",)).fingerprint
    clipped = dataclasses.replace(weights, clip_ratio=0.9)
    assert plain.fingerprint != dataclasses.replace(plain, weights=clipped).fingerprint


def test_a_recipe_of_ones_own_is_named_after_its_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert load_recipe(path).name == "mine"
    assert load_recipe(path).fingerprint != load_recipe("w8a8").fingerprint


def test_an_unknown_name_comes_with_close_matches() -> None:
    with pytest.raises(QuantguardError, match=r"unknown recipe 'w8a9'\. Did you mean 'w8a8'"):
        load_recipe("w8a9")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(
            GOOD.replace("num_bits", "bits"), r"unknown key 'bits'\. Did you mean 'num_bits'", id="unknown key"
        ),
        pytest.param(
            GOOD.replace("nearest", "gptr"), r"unknown rounding 'gptr'\. Did you mean 'gptq'", id="unknown method"
        ),
        pytest.param('transforms = ["smoothqant"]\n' + GOOD, "Did you mean 'smoothquant'", id="unknown transform"),
        pytest.param(GOOD.replace("8", "9"), "num_bits is 9; possible are 2 to 8", id="bits out of range"),
        pytest.param(GOOD.replace("channel", "group"), "a group size goes with", id="group without its size"),
        pytest.param(GOOD.replace("channel", "tensor"), "possible: channel, group", id="impossible strategy"),
        pytest.param(
            GOOD + "[options.gptq]\ndamping = 1\n", "which the recipe does not use", id="options of another method"
        ),
        pytest.param(GOOD + "[weights", "it is no TOML", id="broken TOML"),
        pytest.param("", "missing weights", id="empty file"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(tmp_path: pathlib.Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(QuantguardError, match=complaint):
        load_recipe(path)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(QuantguardError, match=r"there is no recipe file nowhere\.toml"):
        load_recipe("nowhere.toml")
