"""`quantguard tune`: a recipe whose learning rate makes FlatQuant diverge is recovered by the search."""

import dataclasses
import pathlib
import sys

import pytest

import quantguard
from quantguard.cli import __main__ as cli
from quantguard.errors import MeasurementError, UsageError
from quantguard.pipeline.tuning import tune
from quantguard.recipes import dump_recipe, load_recipe
from quantguard.records import CalibrationArgs, Recipe
from quantguard.transforms import flatquant

SMALL = CalibrationArgs(dataset="worked-problems", num_samples=8, max_length=64)


def aggressive() -> Recipe:
    recipe = dataclasses.replace(load_recipe("flatquant-w4a4kv4"), calibration=SMALL)
    return dataclasses.replace(recipe, options={"flatquant": {"learning_rate": 50.0, "epochs": 4}})


def test_an_aggressive_learning_rate_fails_by_the_layers_name_and_the_search_recovers_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    with pytest.raises(MeasurementError, match=r"model\.layers\.\d: FlatQuant diverged.*loss by epoch"):
        quantguard.quantize("tiny-reasoner", aggressive())
    start, found = tmp_path / "start.toml", tmp_path / "found.toml"
    start.write_text(dump_recipe(aggressive()))
    monkeypatch.setattr(flatquant, "SEARCH_SPACE", {"learning_rate": (50.0, 1e-3)})
    arguments = ["tune", "tiny-reasoner", "--recipe", str(start), "--output", str(found), "--layers", "4"]
    monkeypatch.setattr(sys, "argv", ["quantguard", *arguments])
    assert cli.main() == 0
    shown = capsys.readouterr().out
    assert "failed   the recipe's own: model.layers." in shown
    assert "learning_rate = 0.001 <- best" in shown
    quantized = quantguard.quantize("tiny-reasoner", load_recipe(found))
    assert not any(report.rolled_back for report in quantized.layer_reports)


def test_a_search_in_which_everything_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatquant, "SEARCH_SPACE", {"learning_rate": (80.0,)})
    with pytest.raises(MeasurementError, match="every setting of the search failed"):
        tune(quantguard.load("tiny-reasoner"), aggressive(), num_blocks=4)


@pytest.mark.parametrize(
    ("recipe", "count", "complaint"),
    [
        (load_recipe("quarot-w4a4kv4"), 1, "has nothing to search; a recipe with flatquant has"),
        (load_recipe("w4a4"), 1, "no transform"),
        (aggressive(), 9, "has 4 layers; 9 of them cannot be probed"),
    ],
    ids=["another transform", "no transform", "too many layers"],
)
def test_what_cannot_be_searched_is_refused(recipe: Recipe, count: int, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        tune(quantguard.load("tiny-reasoner"), recipe, num_blocks=count)
