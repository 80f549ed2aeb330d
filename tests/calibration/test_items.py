"""Calibration sets that draw from a benchmark keep away from what gates run, and what they drew is known by id."""

import dataclasses
import pathlib
from typing import Any

import pytest

import quantguard
from quantguard import registry
from quantguard.benchmarks import SUBSET_SEED, choose_subset
from quantguard.calibration._items import calibration_items
from quantguard.errors import QuantguardError
from quantguard.modeling import LoadedModel
from quantguard.pipeline.saving import quantize_to_folder
from quantguard.recipes import load_recipe
from quantguard.records import CalibrationArgs, Recipe

DRAWING = ("benchmark-prompts", "reasoning-traces")


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return quantguard.load("tiny-reasoner")


def args(dataset: str = "benchmark-prompts", **more: Any) -> CalibrationArgs:
    return CalibrationArgs(dataset=dataset, source="word-problems", **{"num_samples": 8, "max_length": 64} | more)


def recipe(**more: Any) -> Recipe:
    return dataclasses.replace(load_recipe("smoothquant-w8a8"), calibration=args(**more))


@pytest.fixture(scope="module")
def calibrated(model: LoadedModel) -> LoadedModel:
    return quantguard.quantize(model, recipe())


@pytest.mark.parametrize("dataset", DRAWING)
@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("count", [1, 128, 300])
def test_no_gate_of_the_default_number_of_items_runs_one(dataset: str, seed: int, count: int) -> None:
    data = registry.benchmarks["word-problems"].load()
    drawn = calibration_items(args(dataset, seed=seed, num_samples=count))
    assert len(set(drawn)) == count
    gate = {f"word-problems/{sample.id}" for sample in choose_subset(data, None, seed=SUBSET_SEED)}
    assert not gate & set(drawn)


def test_another_seed_draws_others_and_the_same_one_the_same() -> None:
    assert calibration_items(args(seed=1)) == calibration_items(args(seed=1)) != calibration_items(args(seed=2))


@pytest.mark.parametrize("dataset", [name for name in registry.calibration if name not in DRAWING])
def test_other_sets_are_of_no_benchmark(dataset: str) -> None:
    assert calibration_items(CalibrationArgs(dataset=dataset)) == ()


def test_an_item_that_a_model_was_calibrated_on_is_refused_by_its_id(calibrated: LoadedModel) -> None:
    assert len(calibrated.calibration_items) == 8
    seen = calibrated.calibration_items[0].partition("/")[2]
    said = rf"calibrated on 1 of the 2 items of word-problems.*: {seen}\. .*gates of up to subset=\d+ take none"
    data = registry.benchmarks["word-problems"].load()
    first = choose_subset(data, 1, seed=SUBSET_SEED)[0].id
    with pytest.raises(QuantguardError, match=said):
        quantguard.evaluate(calibrated, "word-problems", sample_ids=[first, seen])
    record = quantguard.evaluate(calibrated, "word-problems", sample_ids=[first], max_new_tokens=2)
    assert record.recorded["calibration_items"].split() == list(calibrated.calibration_items)


def test_full_precision_may_answer_anything(model: LoadedModel, calibrated: LoadedModel) -> None:
    seen = calibrated.calibration_items[0].partition("/")[2]
    quantguard.evaluate(model, "word-problems", sample_ids=[seen], max_new_tokens=2)


def test_the_items_are_kept_in_a_quantized_folder(tmp_path: pathlib.Path, calibrated: LoadedModel) -> None:
    folder = tmp_path / "quantized"
    quantize_to_folder("tiny-reasoner", recipe(), folder)
    assert quantguard.load(folder).calibration_items == calibrated.calibration_items


def test_a_folder_that_does_not_say_which_items_it_saw_is_refused(calibrated: LoadedModel) -> None:
    old = dataclasses.replace(calibrated, calibration_items=())
    with pytest.raises(QuantguardError, match="calibrated on items of word-problems, and does not say which"):
        quantguard.evaluate(old, "word-problems", subset=2)
