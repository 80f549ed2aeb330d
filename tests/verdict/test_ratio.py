"""Latency is judged by the bounds of its speed-up, and by nothing at all where the machine was not steady."""

import dataclasses
import random

import pytest
from scipy import stats

from quantguard.gates import latency
from quantguard.records import TimedBlock, Verdict
from quantguard.verdict import judge_speedup, ratio
from tests.support.planted_results import timed_blocks

NUM_RUNS = 200


def judge(blocks: list[TimedBlock], minimum: float = 1.5, alpha: float = 0.05) -> Verdict:
    return judge_speedup(blocks, minimum=minimum, metric="prefill speed-up", alpha=alpha)


@pytest.mark.parametrize(
    ("speedup", "outcome"), [(1.7, "PASS"), (1.5, "INCONCLUSIVE"), (1.3, "REGRESSED")], ids=["fast", "even", "slow"]
)
def test_a_speedup_is_judged_by_its_bounds(speedup: float, outcome: str) -> None:
    assert judge(timed_blocks(speedup=speedup, num_blocks=40)).outcome == outcome


def test_a_handful_of_timings_decides_nothing() -> None:
    assert judge(timed_blocks(speedup=2, num_blocks=9)).outcome == "ERROR"


@pytest.mark.parametrize("speedup", [3.0, 0.5], ids=["fast", "slow"])
def test_a_machine_that_drifts_is_unstable_however_clear_the_bounds(
    speedup: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = timed_blocks(speedup=speedup, num_blocks=60, drift=3.0)
    verdict = judge(blocks)
    assert verdict.outcome == "UNSTABLE"
    assert "the machine's speed drifted: full precision took 2." in verdict.reason
    assert "run the gate again by itself" in verdict.reason
    # The guard alone keeps it from being decided.
    monkeypatch.setattr(ratio, "why_unstable", lambda _blocks: None)
    assert judge(blocks).outcome == ("PASS" if speedup > 1 else "REGRESSED")


def test_a_small_drift_falls_on_both_models_alike() -> None:
    verdict = judge(timed_blocks(speedup=2, num_blocks=40, drift=1.8))
    assert verdict.outcome == "PASS"
    assert verdict.delta == pytest.approx(2, rel=0.02)


def test_timings_that_scatter_are_unstable() -> None:
    verdict = judge(timed_blocks(speedup=5, num_blocks=60, noise=0.8))
    assert verdict.outcome == "UNSTABLE"
    assert "timings scatter" in verdict.reason


def test_halves_that_disagree_are_unstable() -> None:
    blocks = [*timed_blocks(speedup=1.8, num_blocks=30), *timed_blocks(speedup=1.6, num_blocks=30, seed=1)]
    verdict = judge(blocks)
    assert verdict.outcome == "UNSTABLE"
    assert "the halves of the run disagree: the speed-up was 1.80 in the first and 1.6" in verdict.reason
    assert judge(blocks[::2] + blocks[1::2]).outcome == "PASS"


def test_a_spike_in_one_block_changes_nothing() -> None:
    blocks = timed_blocks(speedup=1.7, num_blocks=40)
    blocks[7] = dataclasses.replace(blocks[7], candidate_seconds=(1.0, 1.0))
    assert judge(blocks).outcome == "PASS"


def wrong_verdicts(alpha: float) -> tuple[int, int]:
    """Look at noisy runs as a gate does, the speed-up just what is asked; count PASS and REGRESSED, both wrong."""
    outcomes = []
    for seed in range(NUM_RUNS):
        blocks = timed_blocks(speedup=1.5, num_blocks=120, noise=0.1, seed=seed)
        looks = (judge(blocks[:count], alpha=alpha).outcome for count in latency.BLOCK_BUDGETS[:3])
        outcomes.append(next((outcome for outcome in looks if outcome in ("PASS", "REGRESSED")), "INCONCLUSIVE"))
    return outcomes.count("PASS"), outcomes.count("REGRESSED")


# So many are wrong in one of ten thousand tests where each is wrong 5 % of the time.
MOST_WRONG = int(stats.binom.isf(1e-4, NUM_RUNS, 0.05))


def test_looking_several_times_is_wrong_as_rarely_as_looking_once() -> None:
    assert max(wrong_verdicts(latency.LEVEL)) <= MOST_WRONG


def test_looks_that_each_take_too_much_are_caught() -> None:
    assert max(wrong_verdicts(0.2)) > MOST_WRONG


def test_the_order_a_b_b_a_is_what_keeps_a_drift_off() -> None:
    """Where the candidate always comes second, the same drift is taken for the candidate's."""
    draw = random.Random(0)
    seconds = [0.005 * 1.01**number * (1 + draw.gauss(0, 0.001)) for number in range(60 * 4)]
    blocks, pairs = [], []
    for a, b, c, d in zip(*(iter(seconds),) * 4, strict=True):
        blocks.append(TimedBlock(reference_seconds=(a, d), candidate_seconds=(b, c)))
        pairs.append(TimedBlock(reference_seconds=(a, c), candidate_seconds=(b, d)))
    estimates = [judge(each[:15], minimum=1.0).delta for each in (blocks, pairs)]
    assert estimates[0] == pytest.approx(1, abs=0.001)
    assert estimates[1] == pytest.approx(1 / 1.01, abs=0.001)
