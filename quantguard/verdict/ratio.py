"""The rules for limits on a ratio: a smallest speed-up, and a largest value of an exact measurement."""

import statistics
from collections.abc import Sequence

from quantguard import stats
from quantguard.records import Outcome, TimedBlock, Verdict
from quantguard.verdict.stability import why_unstable

# With fewer blocks the bounds of a median are too wide to mean anything.
SMALLEST_BLOCKS = 10
_REMEDY = "Let nothing else work on this machine, keep its clock frequency fixed, and run the gate again by itself"


def judge_speedup(blocks: Sequence[TimedBlock], *, minimum: float, metric: str, alpha: float = 0.05) -> Verdict:
    """Judge the speed-up of the candidate over full precision, timed in A B B A blocks, against a minimum.

    ``delta`` is the speed-up, ``ci_low`` and ``ci_high`` its bounds of one-sided level ``alpha``, ``margin`` the
    minimum, all as ratios, and ``n`` the number of blocks. UNSTABLE if the machine was not steady enough, whatever the
    bounds say.
    """
    if len(blocks) < SMALLEST_BLOCKS:
        reason = f"{len(blocks)} blocks were timed; at least {SMALLEST_BLOCKS} are needed"
        return Verdict(outcome="ERROR", metric=metric, reason=reason)
    estimate = stats.log_ratio_bounds([block.log_speedup for block in blocks], alpha=alpha)
    outcome: Outcome = "INCONCLUSIVE"
    if estimate.low >= minimum:
        outcome = "PASS"
    elif estimate.high < minimum:
        outcome = "REGRESSED"
    full, candidate = (_milliseconds(blocks, side) for side in ("reference_seconds", "candidate_seconds"))
    reason = (
        f"{estimate.ratio:.2f} times as fast as full precision ({estimate.low:.2f} to {estimate.high:.2f} over"
        f" {len(blocks)} blocks; medians {candidate} and {full} ms); at least {minimum:.2f} is asked"
    )
    unsteady = why_unstable(blocks)
    if unsteady is not None:
        outcome, reason = "UNSTABLE", f"{unsteady}. {_REMEDY}. What was timed: {reason}"
    return Verdict(
        outcome=outcome,
        metric=metric,
        reason=reason,
        delta=estimate.ratio,
        ci_low=estimate.low,
        ci_high=estimate.high,
        margin=minimum,
        n=len(blocks),
    )


def _milliseconds(blocks: Sequence[TimedBlock], side: str) -> str:
    return f"{1000 * statistics.median(seconds for block in blocks for seconds in getattr(block, side)):.3g}"


def judge_ceiling(value: float, *, maximum: float, metric: str, reason: str) -> Verdict:
    """Judge an exact measurement against a maximum; ``delta`` is the measurement itself."""
    outcome: Outcome = "PASS" if value <= maximum else "REGRESSED"
    return Verdict(
        outcome=outcome, metric=metric, reason=reason, delta=value, ci_low=value, ci_high=value, margin=maximum, n=1
    )
