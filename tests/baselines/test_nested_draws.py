"""Draws are nested, so gates that differ in their subset share a baseline; what does not nest is told."""

import dataclasses
from typing import Any

import pytest

from quantguard import registry
from quantguard.baselines import BaselineLocation
from quantguard.baselines.matching import LackingItemsError, items_of, items_to_measure
from quantguard.benchmarks import SUBSET_SEED, choose_subset, task_name
from quantguard.errors import BaselineError
from quantguard.gates import accuracy, reasoning
from tests.support.fingerprints import fingerprint_of

IDS = tuple("abcdefgh")


@pytest.mark.parametrize("name", ["word-problems", "sums", "capitals"])
def test_a_smaller_draw_is_the_beginning_of_a_larger_one(name: str) -> None:
    data = registry.benchmarks[name].load()
    drawn = [sample.id for sample in choose_subset(data, len(data.samples), seed=SUBSET_SEED)]
    for count in (1, 2, 7, 40, len(data.samples) - 1):
        assert [sample.id for sample in choose_subset(data, count, seed=SUBSET_SEED)] == drawn[:count]


def test_the_strata_of_a_subset_are_those_of_the_whole_at_any_size() -> None:
    data = registry.benchmarks["word-problems"].load()
    shuffled = dataclasses.replace(data, samples=data.samples[::-1])
    for count in (3, 40, 300):
        assert choose_subset(data, count, seed=0) == choose_subset(shuffled, count, seed=0)


@pytest.mark.parametrize(
    ("stored", "drawn", "subset", "expected"),
    [
        (IDS, IDS[:3], 3, IDS[:3]),
        (IDS, IDS[:3], None, IDS),
        (IDS, IDS, 8, IDS),
        (("x", *IDS[:3]), IDS[:4], 4, ("x", *IDS[:3])),
        (("x", *IDS[:3]), IDS, None, ("x", *IDS[:3])),
        (IDS[:3], (), None, IDS[:3]),
    ],
    ids=["smaller", "usual", "same", "as many of another draw", "another draw", "any number"],
)
def test_a_gate_runs_its_own_draw_of_a_larger_baseline(
    stored: tuple[str, ...], drawn: tuple[str, ...], subset: int | None, expected: tuple[str, ...]
) -> None:
    assert items_of(stored, drawn, subset, "p") == expected


@pytest.mark.parametrize(("subset", "asked"), [(8, "subset=8"), (None, "the benchmark's 8")])
def test_a_baseline_with_too_few_items_is_stale(subset: int | None, asked: str) -> None:
    with pytest.raises(LackingItemsError, match=f"it has 3 items, and the gate asks for {asked}.*subset=3"):
        items_of(IDS[:3], IDS, subset, "p")


def test_a_draw_that_does_not_nest_is_refused() -> None:
    with pytest.raises(BaselineError, match="8 items of another draw, and some of subset=2 are not among them"):
        items_of(IDS, ("a", "x"), 2, "p")


@pytest.mark.parametrize(
    ("previous", "drawn", "subset", "expected"),
    [
        (IDS, IDS[:3], 3, IDS),
        (IDS[:3], IDS, 8, IDS),
        (IDS[:3], IDS, None, IDS),
        (IDS, IDS[:3], None, IDS),
        (("x", "y"), IDS, 8, IDS),
        (("x", *IDS[:7]), IDS, 8, ("x", *IDS[:7])),
    ],
    ids=["larger stays", "grows", "grows to the usual", "larger than usual", "another draw grows", "as many"],
)
def test_an_update_never_makes_a_baseline_smaller(
    previous: tuple[str, ...], drawn: tuple[str, ...], subset: int | None, expected: tuple[str, ...]
) -> None:
    assert items_to_measure(previous, drawn, subset, "p") == expected


def test_an_update_by_a_smaller_draw_that_does_not_nest_is_refused() -> None:
    with pytest.raises(BaselineError, match="remove the file and type"):
        items_to_measure(IDS, ("a", "x"), 2, "p")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"max_new_tokens": 1048576}, {"max_new_tokens": 1048577}),
        ({"temperature": 0.6}, {"temperature": 0.6000001}),
        ({"epochs": 2, "temperature": 0.5}, {"epochs": 3, "temperature": 0.5}),
        ({"mode": "no_think"}, {"mode": None}),
        ({"top_p": 0.9, "temperature": 0.5}, {"temperature": 0.5}),
    ],
    ids=["limit", "temperature", "epochs", "mode", "nucleus"],
)
@pytest.mark.parametrize("kind", [accuracy, reasoning], ids=["accuracy", "reasoning"])
def test_what_decodes_in_another_way_has_a_path_of_its_own(
    kind: Any, one: dict[str, Any], other: dict[str, Any]
) -> None:
    limits = {"max_repetition": 0.5} if kind is reasoning else {}
    assert task_name(kind.Gate(**limits, **one)) != task_name(kind.Gate(**limits, **other))


def test_the_usual_ways_keep_their_names() -> None:
    gate = accuracy.Gate(temperature=0.6, top_p=0.95, epochs=4, max_new_tokens=32768, mode="no_think")
    assert task_name(gate) == "word-problems@no_think@t0.6@p0.95@e4@n32768"


def test_gates_of_one_location_clash_where_they_are_not_of_the_same_run() -> None:
    location = BaselineLocation(
        path="p", platform="cpu", model="m", recipe="r", benchmark="b", fingerprint=fingerprint_of()
    )
    assert location.clash(location) is None
    assert location.clash(dataclasses.replace(location, reference="full")) is None
    named = dataclasses.replace(location, reference="other")
    assert named.clash(dataclasses.replace(location, reference="full")) == "reference is other and full"
    assert location.clash(dataclasses.replace(location, fingerprint=fingerprint_of(weights="v", dtype="d"))) == (
        "dtype is absent and d; weights is w and v"
    )
