"""The law of the table of sites: a map that goes where a row says keeps the function, folded or online."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from quantguard.modeling import Block, find_decoder, rotating
from quantguard.modeling.folding import divide
from quantguard.modeling.rotating import fold_norms, map_online, rotate_ends, rotate_stream, rotate_value_heads
from quantguard.modeling.sites import DOWN_INPUT, GATE_UP_INPUT, INPUTS, OUTPUT_INPUT, QKV_INPUT, STREAM, InputSite
from quantguard.numerics.hadamard import random_orthogonal
from tests.support.families import FAMILIES, build, logits

LARGEST_CHANGE = 1e-10
SITES = pytest.mark.parametrize("site", INPUTS, ids=[site.group for site in INPUTS])
EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)


def change(family: str, what: Callable[[Block], None]) -> float:
    """Return how far the logits move when every block is changed."""
    loaded = build(family)
    before = logits(loaded)
    for block in find_decoder(loaded.model).blocks:
        weights = [linear.weight.clone() for linear in block.linears.values()]
        what(block)
        assert any(not torch.equal(a, b.weight) for a, b in zip(weights, block.linears.values(), strict=True))
    return float((logits(loaded) - before).norm() / before.norm())


def scaled(site: InputSite) -> Callable[[Block], None]:
    def fold(block: Block) -> None:
        attention, group = block.attention, block.groups[site.group]
        width = attention.v.out_features if site.absorbs == "heads" else group.in_features
        divide(block, site, torch.rand(width, generator=torch.Generator().manual_seed(0)).double() + 0.5)

    return fold


def rotated_online(site: InputSite) -> Callable[[Block], None]:
    return lambda block: map_online(block, site, None, random_orthogonal(block.groups[site.group].in_features, seed=0))


def matrix_of_each_head(block: Block) -> None:
    attention, generator = block.attention, torch.Generator().manual_seed(0)
    shape = (attention.num_key_value_heads, attention.head_dim, attention.head_dim)
    matrix = torch.randn(shape, generator=generator).double() + 3 * torch.eye(attention.head_dim)
    rotate_value_heads(block, matrix, torch.linalg.inv(matrix).mT)


@EVERY_FAMILY
@SITES
def test_a_scale_that_is_folded_keeps_the_function(site: InputSite, family: str) -> None:
    assert change(family, scaled(site)) < LARGEST_CHANGE


@EVERY_FAMILY
@SITES
def test_a_rotation_that_runs_online_keeps_the_function(site: InputSite, family: str) -> None:
    assert change(family, rotated_online(site)) < LARGEST_CHANGE


@EVERY_FAMILY
def test_a_matrix_of_each_head_keeps_the_function(family: str) -> None:
    assert change(family, matrix_of_each_head) < LARGEST_CHANGE


def change_of_a_rotated_stream(family: str) -> float:
    loaded = build(family)
    before, decoder = logits(loaded), find_decoder(loaded.model)
    rotation = random_orthogonal(decoder.hidden_size, seed=0)
    decoder.untie()
    rotate_ends(decoder, rotation)
    for block in decoder.blocks:
        fold_norms(block)
        rotate_stream(block, rotation)
    return float((logits(loaded) - before).norm() / before.norm())


@EVERY_FAMILY
def test_a_rotation_of_the_stream_keeps_the_function(family: str) -> None:
    assert change_of_a_rotated_stream(family) < LARGEST_CHANGE


WRONG_ROWS = {
    "a reader left out": dataclasses.replace(QKV_INPUT, readers=("q", "k")),
    "a reader of another input": dataclasses.replace(GATE_UP_INPUT, readers=("gate", "up", "q")),
    "another norm": dataclasses.replace(GATE_UP_INPUT, norms=("attention",)),
    "a writer left out": dataclasses.replace(OUTPUT_INPUT, writers=()),
    "the gate for up": dataclasses.replace(DOWN_INPUT, writers=("gate",)),
}


@pytest.mark.parametrize("row", WRONG_ROWS)
def test_the_law_catches_a_row_with(row: str) -> None:
    assert change("llama with biases", scaled(WRONG_ROWS[row])) > LARGEST_CHANGE


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"readers": ("q", "k", "v", "gate")}, id="a reader left out"),
        pytest.param({"writers": ("o",)}, id="a writer left out"),
        pytest.param({"ends": ("embedding",)}, id="an end left out"),
    ],
)
def test_the_law_catches_a_stream_with(wrong: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "STREAM", dataclasses.replace(STREAM, **wrong))  # type: ignore[arg-type]
    assert change_of_a_rotated_stream("llama with biases") > LARGEST_CHANGE
