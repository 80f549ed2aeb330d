"""Is a ratio of two measurements on the right side of a limit?"""

from collections.abc import Sequence

from quantguard import stats
from quantguard.records import Outcome, Verdict

# Below this number of pairs the bounds of a median mean little.
SMALLEST_PAIRS = 10


def judge_speedup(log_ratios: Sequence[float], *, minimum: float, metric: str, alpha: float = 0.05) -> Verdict:
    """Judge ``log(t_full_precision / t_candidate)``, one a pair measured in turn, against a minimum.

    ``delta`` is the speed-up, ``ci_low`` and ``ci_high`` its bounds of one-sided level ``alpha``, ``margin`` the
    minimum, all as ratios.
    """
    if len(log_ratios) < SMALLEST_PAIRS:
        reason = f"{len(log_ratios)} pairs were timed; at least {SMALLEST_PAIRS} are needed"
        return Verdict(outcome="ERROR", metric=metric, reason=reason)
    estimate = stats.log_ratio_bounds(log_ratios, alpha=alpha)
    outcome: Outcome = "INCONCLUSIVE"
    if estimate.low >= minimum:
        outcome = "PASS"
    elif estimate.high < minimum:
        outcome = "REGRESSED"
    return Verdict(
        outcome=outcome,
        metric=metric,
        reason=(
            f"{estimate.ratio:.2f} times as fast as full precision ({estimate.low:.2f} to {estimate.high:.2f} over"
            f" {len(log_ratios)} pairs); at least {minimum:.2f} is asked"
        ),
        delta=estimate.ratio,
        ci_low=estimate.low,
        ci_high=estimate.high,
        margin=minimum,
        n=len(log_ratios),
    )


def judge_ceiling(value: float, *, maximum: float, metric: str, reason: str) -> Verdict:
    """Judge an exact measurement against a maximum; ``delta`` is the measurement itself."""
    outcome: Outcome = "PASS" if value <= maximum else "REGRESSED"
    return Verdict(
        outcome=outcome, metric=metric, reason=reason, delta=value, ci_low=value, ci_high=value, margin=maximum, n=1
    )
