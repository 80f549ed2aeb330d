"""Gates for every 8-bit method and the best 4-bit ones: what a change of a method must not cost."""

import pathlib

import pytest

import quantguard
from pytest_quantguard.fixtures import Guard

EIGHT_BIT = (
    str(pathlib.Path(__file__).with_name("flatquant-w8a8kv8-brief.toml")),
    "openpangu-w8a8",
    "quarot-w8a8kv8",
    "smoothquant-w8a8kv8",
    "smoothquant-w8a8kv8-static",
)
FOUR_BIT = ("awq-w4a16", "quip-w4a16")


@pytest.mark.parametrize("recipe", EIGHT_BIT, ids=lambda recipe: pathlib.Path(recipe).stem)
@quantguard.accuracy(tol=0.045)
def test_8_bit_methods_keep_their_accuracy(guard: Guard, recipe: str) -> None:
    guard.check("tiny-reasoner", recipe=recipe)


@pytest.mark.parametrize("recipe", FOUR_BIT)
@quantguard.accuracy(tol=0.045)
def test_the_best_4_bit_methods_keep_their_accuracy(guard: Guard, recipe: str) -> None:
    guard.check("tiny-reasoner", recipe=recipe)
