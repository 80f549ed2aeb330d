"""The rule: PASS only what is proven, REGRESSED what is proven or significant, ERROR what cannot be compared."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from quantguard.errors import QuantguardError
from quantguard.records import RunRecord, Score, Verdict
from quantguard.verdict import AccuracyRule, judge, judge_accuracy
from tests.support.fingerprints import fingerprint_of

RULE = AccuracyRule(tol=0.045)


def scores(values: Sequence[float | None], *, explanation: str = "boxed", epoch: int = 0) -> list[Score]:
    return [
        Score(
            sample_id=f"i{index}",
            epoch=epoch,
            value=value,
            answer=None,
            explanation=explanation,
            num_tokens=1,
            finish_reason="stop",
        )
        for index, value in enumerate(values)
    ]


def verdict_of(*, lost: int, gained: int, n: int, rule: AccuracyRule = RULE) -> Verdict:
    baseline = [1.0] * (n - gained) + [0.0] * gained
    candidate = [0.0] * lost + [1.0] * (n - lost)
    return judge_accuracy(
        scores(list(candidate)), scores(list(baseline)), expected_ids=[f"i{i}" for i in range(n)], rule=rule
    )


@pytest.mark.parametrize(
    ("lost", "gained", "n", "outcome"),
    [
        pytest.param(0, 0, 66, "PASS", id="66 items without a flip prove 4.5 points"),
        pytest.param(0, 0, 65, "INCONCLUSIVE", id="65 do not"),
        pytest.param(5, 5, 300, "PASS", id="a few flips either way"),
        pytest.param(0, 40, 300, "PASS", id="an improvement passes"),
        pytest.param(60, 2, 300, "REGRESSED", id="proven worse"),
        pytest.param(20, 4, 300, "REGRESSED", id="significant and beyond the tolerance"),
        pytest.param(12, 4, 300, "INCONCLUSIVE", id="undecided"),
    ],
)
def test_the_outcome_of(lost: int, gained: int, n: int, outcome: str) -> None:
    assert verdict_of(lost=lost, gained=gained, n=n).outcome == outcome


def test_strict_calls_only_proven_drops_regressed() -> None:
    strict = AccuracyRule(tol=0.045, strict=True)
    assert verdict_of(lost=20, gained=4, n=300, rule=strict).outcome == "INCONCLUSIVE"
    assert verdict_of(lost=60, gained=2, n=300, rule=strict).outcome == "REGRESSED"


def test_of_two_tolerances_the_stricter_holds() -> None:
    assert AccuracyRule(tol=0.045, rtol=0.02).margin(0.9) == pytest.approx(0.018)
    assert AccuracyRule(tol=0.01, rtol=0.02).margin(0.9) == pytest.approx(0.01)
    assert AccuracyRule(tol=None, rtol=0.1).margin(0.5) == pytest.approx(0.05)


def test_the_verdict_tells_its_numbers() -> None:
    verdict = verdict_of(lost=20, gained=4, n=300)
    assert verdict.delta == pytest.approx(-16 / 300)
    assert verdict.n == 300
    assert "20 lost and 4 gained of 300 items" in verdict.reason


@pytest.mark.parametrize("drop", [0.0, 0.045], ids=["no drop", "a drop of the tolerance"])
def test_wrong_verdicts_are_as_rare_as_stated(drop: float) -> None:
    rng = np.random.default_rng(2)
    n, flips, runs = 300, 0.1, 600
    probabilities = [(flips - drop) / 2, (flips + drop) / 2, 1 - flips]
    draws = rng.multinomial(n, probabilities, size=runs).tolist()
    wrong = "REGRESSED" if drop == 0 else "PASS"
    count = sum(verdict_of(lost=lost, gained=gained, n=n).outcome == wrong for gained, lost, _ in draws)
    assert count / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_items_that_do_not_join_are_an_error() -> None:
    ids = [f"i{i}" for i in range(300)]
    some = scores([1.0] * 293)
    assert judge_accuracy(some, scores([1.0] * 300), expected_ids=ids, rule=RULE).outcome == "ERROR"
    assert judge_accuracy(scores([1.0] * 300), some, expected_ids=ids, rule=RULE).outcome == "ERROR"
    assert judge_accuracy(scores([1.0] * 295), scores([1.0] * 300), expected_ids=ids, rule=RULE).outcome == "PASS"


def test_unjudged_items_are_not_counted_as_wrong_but_as_missing() -> None:
    verdict = judge_accuracy(
        scores([None] * 10 + [1.0] * 290), scores([1.0] * 300), expected_ids=[f"i{i}" for i in range(300)], rule=RULE
    )
    assert verdict.outcome == "ERROR"
    assert "290 of 300" in verdict.reason


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_items_are_an_error(count: int) -> None:
    both = scores([1.0] * count)
    assert judge_accuracy(both, both, expected_ids=[f"i{i}" for i in range(count)], rule=RULE).outcome == "ERROR"


@pytest.mark.parametrize("lost", [20, 60, 280, 300])
def test_answers_without_an_end_are_told_from_wrong_ones(lost: int) -> None:
    ids = [f"i{i}" for i in range(300)]
    baseline = scores([1.0] * 280 + [0.0] * 20)
    cut = [
        dataclasses.replace(s, value=0.0, explanation="truncated") if index < lost else s
        for index, s in enumerate(baseline)
    ]
    verdict = judge_accuracy(cut, baseline, expected_ids=ids, rule=RULE)
    assert verdict.outcome == "ERROR"
    assert f"{lost} answers without an end are no proof of wrong ones" in verdict.reason


@pytest.mark.parametrize(("lost", "outcome"), [(8, "ERROR"), (60, "REGRESSED")])
def test_answers_that_end_and_say_nothing_are_wrong_and_few_of_them_incomparable(lost: int, outcome: str) -> None:
    ids = [f"i{i}" for i in range(300)]
    baseline = scores([1.0] * 300)
    silent = [
        dataclasses.replace(s, value=0.0, explanation="unparsed") if index < lost else s
        for index, s in enumerate(baseline)
    ]
    verdict = judge_accuracy(silent, baseline, expected_ids=ids, rule=RULE)
    assert verdict.outcome == outcome
    assert "of this run left no answer to score, 0.0% of the baseline" in verdict.reason


def test_a_run_that_is_also_wrong_where_it_came_to_an_end_has_regressed() -> None:
    ids = [f"i{i}" for i in range(300)]
    baseline = scores([1.0] * 300)
    rules = ["truncated"] * 30 + ["boxed"] * 50
    worse = [dataclasses.replace(s, value=0.0, explanation=rule) for s, rule in zip(baseline, rules, strict=False)]
    verdict = judge_accuracy(worse + list(baseline[80:]), baseline, expected_ids=ids, rule=RULE)
    assert verdict.outcome == "REGRESSED"
    assert "10.0% of this run hit the token limit, 0.0% of the baseline" in verdict.reason


@pytest.mark.parametrize("side", ["candidate", "baseline", "both"])
def test_answers_that_were_not_compared_in_time_decide_nothing(side: str) -> None:
    ids = [f"i{i}" for i in range(300)]
    whole = scores([1.0] * 300)
    late = [dataclasses.replace(s, value=0.0, explanation="timeout") for s in whole[:7]] + list(whole[7:])
    new, old = (late if side in (name, "both") else whole for name in ("candidate", "baseline"))
    verdict = judge_accuracy(new, old, expected_ids=ids, rule=RULE)
    assert verdict.outcome == "ERROR"
    assert "2.3% of the answers could not be compared in time" in verdict.reason


def test_several_answers_an_item_are_averaged_before_they_are_compared() -> None:
    ids = [f"i{i}" for i in range(200)]
    rng = np.random.default_rng(3)
    old = list(itertools.chain(*(scores(list(rng.integers(0, 2, 200) * 1.0), epoch=e) for e in range(4))))
    new = [dataclasses.replace(s, value=0.0) if s.epoch == 0 else s for s in old]
    assert judge_accuracy(old, old, expected_ids=ids, rule=RULE).outcome == "PASS"
    assert judge_accuracy(new, old, expected_ids=ids, rule=RULE).outcome == "REGRESSED"


def test_a_baseline_so_poor_that_no_drop_could_show_is_an_error() -> None:
    nothing = scores([0.0] * 300)
    verdict = judge_accuracy(nothing, nothing, expected_ids=[f"i{i}" for i in range(300)], rule=RULE)
    assert verdict.outcome == "ERROR"
    assert "the baseline answers 0.0% right" in verdict.reason


def test_a_few_items_with_fractional_scores_do_not_pass_by_varying_little() -> None:
    ids = [f"i{i}" for i in range(20)]
    old = [score for epoch in range(4) for score in scores([1.0] * 20, epoch=epoch)]
    new = [dataclasses.replace(score, value=0.0) if index == 0 else score for index, score in enumerate(old)]
    assert judge_accuracy(new, old, expected_ids=ids, rule=RULE).outcome == "INCONCLUSIVE"


def test_answers_are_joined_one_by_one_not_by_item() -> None:
    ids = [f"i{i}" for i in range(100)]
    old = [score for epoch in range(4) for score in scores([1.0] * 100, epoch=epoch)]
    verdict = judge_accuracy(old[:120], old, expected_ids=ids, rule=RULE)
    assert verdict.outcome == "ERROR"
    assert "only 120 of 400" in verdict.reason


def record(values: list[float], **facts: Any) -> RunRecord:
    return RunRecord(
        model="m",
        recipe=None,
        benchmark="b",
        platform="cpu",
        generation_config=None,
        scores=tuple(scores(values)),
        kernels={},
        fingerprint=fingerprint_of(**facts),
        recorded={},
    )


def test_records_of_different_data_are_not_compared() -> None:
    verdict = judge(record([1.0] * 100, data="other"), record([1.0] * 100))
    assert verdict.outcome == "ERROR"
    assert "differ in data" in verdict.reason
    assert judge(record([1.0] * 100, recipe="other"), record([1.0] * 100)).outcome == "PASS"


def test_a_run_that_is_better_than_full_precision_beyond_chance_says_so_and_one_beside_another_recipe_does_not() -> (
    None
):
    poor, good = record([0.0] * 30 + [1.0] * 70), record([1.0] * 100)
    assert "30 gained and 0 lost of 100 items: better than full precision beyond chance" in judge(good, poor).reason
    served = dataclasses.replace(poor, served=True)
    assert "beyond chance" not in judge(good, served).reason


@pytest.mark.parametrize(
    ("key", "facts"),
    [
        pytest.param("tokens", {"tokens": "others"}, id="tokens"),
        pytest.param("stop_ids", {"stop_ids": (2, 3)}, id="stop_ids"),
        pytest.param("config.rope_theta", {"config": {"rope_theta": "7"}}, id="a field of the configuration"),
    ],
)
def test_records_of_other_tokens_or_another_configuration_are_not_compared(key: str, facts: dict[str, Any]) -> None:
    usual = record([1.0] * 100, config={})
    assert judge(record([1.0] * 100, **{"config": {}} | facts), usual).reason == f"the runs differ in {key}"


def test_a_head_that_a_rotation_has_untied_is_no_difference() -> None:
    untied, tied = (record([1.0] * 100, config={"tie_word_embeddings": text}) for text in ("false", "true"))
    assert judge(untied, tied).outcome == "PASS"


def test_a_tolerance_in_points_is_refused() -> None:
    with pytest.raises(QuantguardError, match=r"4\.5 points are 0\.045"):
        judge(record([1.0]), record([1.0]), tol=4.5)
