"""A learned rotation that leads away from the float network is put back, and the report says so."""

import dataclasses

import pytest

import quantguard
from quantguard import recipes
from quantguard.records import CalibrationArgs
from quantguard.transforms import _learned_rotation


def rolled_back(method: str, **options: object) -> tuple[str, ...]:
    recipe = dataclasses.replace(
        recipes.load_recipe(f"{method}-w4a4kv4"),
        rounding="nearest",
        calibration=CalibrationArgs(dataset="worked-problems", num_samples=4, max_length=64),
        options={method: {"steps": 12, **options}},
    )
    return quantguard.quantize("tiny-reasoner", recipe=recipe).layer_reports[0].rolled_back


def test_the_cross_entropy_of_text_that_the_model_does_not_write_leads_away() -> None:
    assert rolled_back("spinquant") == ("spinquant",)


def test_the_divergence_leads_closer() -> None:
    assert rolled_back("ostquant") == ()


def test_without_the_comparison_it_would_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = iter((2.0, 1.0))
    monkeypatch.setattr(_learned_rotation.Descent, "_divergence", lambda *_: next(falling))
    assert rolled_back("spinquant") == ()
