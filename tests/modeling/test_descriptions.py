"""Parts of a model have names: stored tensors' are spelled in one place, and nothing is found by its position."""

import pathlib
import re

import pytest

from quantguard.modeling import descriptions, find_decoder, load
from quantguard.modeling.descriptions import (
    BLOCKS,
    COMPUTED,
    DESCRIPTIONS,
    EMBEDDING,
    FINAL_NORM,
    HEAD,
    BlockDescription,
)
from quantguard.modeling.sites import INPUTS, STREAM

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("quantguard/**/*.py"), *ROOT.glob("pytest_quantguard/**/*.py")])
OUTSIDE = [path for path in SOURCES if "modeling" not in path.relative_to(ROOT).parts]
# What a recipe leaves out unless it says otherwise is named in a row below modeling.
ELSEWHERE = {"quantguard/records/quantization.py": {HEAD}}
# The rows that know the parts of a block.
ROWS = ("modeling", "transforms", "checkpoints", "pipeline")
POSITION = re.compile(r"\b(?:groups|linears)\[-?\d*:*-?\d*\]")


def spelled_names() -> list[str]:
    """Return what tells a stored tensor's name from any other word."""
    parts = [part for d in DESCRIPTIONS for part in (d.attention, d.mlp)]
    named = [HEAD, BLOCKS, EMBEDDING, FINAL_NORM, *(name.rpartition(".")[2] for name in (EMBEDDING, COMPUTED))]
    named += [name for d in DESCRIPTIONS for name in d.norms.values()]
    named += [name for part in parts for name in (part.attribute, *part.linears.values(), *part.norms)]
    return [name for name in dict.fromkeys(named) if not name.isalpha()]


def names_in(text: str) -> set[str]:
    return {name for name in spelled_names() if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)}


def test_nobody_else_spells_the_names_of_stored_tensors() -> None:
    found = {path.relative_to(ROOT).as_posix(): names_in(path.read_text()) for path in OUTSIDE}
    assert {path: names for path, names in found.items() if names} == ELSEWHERE


@pytest.mark.parametrize(
    ("line", "names"),
    [
        pytest.param('name = f"{block.name}.self_attn.{which}"', {"self_attn"}, id="a path"),
        pytest.param("layer.mlp.down_proj.weight", {"down_proj"}, id="an attribute"),
        pytest.param('"""Rotate what o_proj reads."""', {"o_proj"}, id="prose"),
        pytest.param('("model.norm.", "lm_head.")', {"model.norm", "lm_head"}, id="what names begin with"),
        pytest.param('f"model.layers.{index}"', {"model.layers"}, id="a layer"),
        pytest.param("model.normal(3)", set(), id="another word"),
    ],
)
def test_a_name_that_is_spelled_is_seen(line: str, names: set[str]) -> None:
    assert names_in(line) == names


def test_no_part_of_a_block_is_found_by_its_position() -> None:
    assert [path.name for path in SOURCES if path.parent.name in ROWS and POSITION.search(path.read_text())] == []


@pytest.mark.parametrize("line", ["block.groups[0].norm", "block.groups[::2]", "group.linears[2]", "x.linears[-1]"])
def test_a_position_is_seen(line: str) -> None:
    assert POSITION.search(line)


@pytest.mark.parametrize("description", DESCRIPTIONS, ids=["gated"])
def test_every_linear_is_in_one_group_and_the_table_of_sites_has_all(description: BlockDescription) -> None:
    roles = [role for group in description.groups for role in group.roles]
    assert roles == list(description.linears)
    for group in description.groups:
        assert len({description.part_of(role).attribute for role in group.roles}) == 1
    assert {site.group: site.readers for site in INPUTS} == {group.name: group.roles for group in description.groups}
    norms = {group.name: () if group.norm is None else (group.norm,) for group in description.groups}
    assert {site.group: site.norms for site in INPUTS} == norms
    assert set(STREAM.norms) == set(description.norms)
    assert {*STREAM.readers, *STREAM.writers} == set(roles)


def test_a_block_is_read_by_its_names() -> None:
    block = find_decoder(load("tiny-reasoner").model).blocks[1]
    assert block.attention.q is block.linears[block.linear_name("q")] is block.linear("q")
    assert block.mlp.down is block.linears["model.layers.1.mlp.down_proj"]
    assert block.groups["gate_up"].linears == (block.mlp.gate, block.mlp.up)
    assert block.groups["gate_up"].norm is block.norms.mlp
    assert descriptions.linear_attributes("o", "down") == ("o_proj", "down_proj")
