"""Loops, the limit and the length: held or broken where a bound says so, and undecided between."""

import dataclasses

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from quantguard.records import Score
from quantguard.stats import rate_bounds
from quantguard.verdict import judge_length, judge_rate


def scores(lengths: list[int], *, epoch: int = 0) -> tuple[Score, ...]:
    return tuple(
        Score(
            sample_id=f"i{i}",
            epoch=epoch,
            value=1.0,
            answer="x",
            explanation="boxed",
            num_tokens=length,
            finish_reason="stop",
        )
        for i, length in enumerate(lengths)
    )


@pytest.mark.parametrize(("count", "n"), [(0, 60), (1, 60), (7, 300), (299, 300), (300, 300)])
def test_bounds_of_a_rate_are_the_exact_ones(count: int, n: int) -> None:
    expected = proportion_confint(count, n, alpha=0.1, method="beta")
    assert rate_bounds(count, n, alpha=0.05) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("count", "outcome"), [(0, "PASS"), (2, "PASS"), (9, "INCONCLUSIVE"), (30, "REGRESSED"), (300, "REGRESSED")]
)
def test_a_rate_is_judged_by_its_bounds(count: int, outcome: str) -> None:
    happened = {(f"i{i}", 0): i < count for i in range(300)}
    verdict = judge_rate(happened, maximum=0.03, metric="repetition")
    assert verdict.outcome == outcome
    assert f"repetition: {count} of 300 items" in verdict.reason


def test_an_item_counts_once_however_many_of_its_epochs_do_it() -> None:
    happened = {(f"i{i}", epoch): i == 0 for i in range(10) for epoch in range(4)}
    verdict = judge_rate(happened, maximum=0.5, metric="repetition")
    assert (verdict.delta, verdict.n) == (0.1, 10)


@pytest.mark.parametrize(
    ("factor", "outcome"), [(1.0, "PASS"), (1.05, "PASS"), (1.2, "INCONCLUSIVE"), (1.5, "REGRESSED")]
)
def test_a_length_is_judged_over_the_same_items(factor: float, outcome: str) -> None:
    rng = np.random.default_rng(0)
    old = rng.integers(20, 200, 300)
    new = np.maximum(1, old * factor + rng.normal(0, 20, 300)).astype(int)
    verdict = judge_length(scores(new.tolist()), scores(old.tolist()), maximum=1.2)
    assert verdict.outcome == outcome
    assert verdict.delta == pytest.approx(new.sum() / old.sum())


def test_the_bounds_of_a_length_ratio_hold_at_their_level() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(2000):
        old = rng.gamma(2, 50, 60) + 10
        new = old * 1.2 * rng.gamma(20, 1 / 20, 60)
        found = judge_length(
            scores(new.round().astype(int).tolist()), scores(old.round().astype(int).tolist()), maximum=1.2
        )
        wrong += found.outcome == "PASS"
    assert wrong / 2000 < 0.075


def test_lengths_that_cannot_be_compared_are_an_error() -> None:
    others = tuple(dataclasses.replace(score, sample_id="other") for score in scores([5]))
    assert judge_length(scores([5, 5]), others, maximum=1.2).outcome == "ERROR"
