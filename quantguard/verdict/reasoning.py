"""The rules for reasoning behaviour: rates of loops and truncation, and the length of answers.

PASS or REGRESSED if a bound of one-sided level ``alpha`` proves that a limit is held or broken, INCONCLUSIVE between.
A rate counts items: an item counts if it happens in any of its epochs.
"""

import collections
import statistics
from collections.abc import Mapping, Sequence

from quantguard import stats
from quantguard.records import Outcome, Score, Verdict

_Key = tuple[str, int]


def judge_rate(happened: Mapping[_Key, bool], *, maximum: float, metric: str, alpha: float = 0.05) -> Verdict:
    """Judge the share of items for which something happened in at least one epoch against a maximum, 0..1."""
    items: dict[str, bool] = collections.defaultdict(bool)
    for (sample_id, _), value in happened.items():
        items[sample_id] |= value
    count, n = sum(items.values()), len(items)
    low, high = stats.rate_bounds(count, n, alpha=alpha)
    reason = f"{metric}: {count} of {n} items, {_between(low, high, maximum)}"
    return _verdict(metric, count / n, low, high, maximum, n, reason)


def judge_length(
    candidate: Sequence[Score], reference: Sequence[Score], *, maximum: float, alpha: float = 0.05
) -> Verdict:
    """Judge the ratio of all answers' tokens to those of the reference on the same items against a maximum.

    Bounds are t bounds over items of the ratio estimator's residuals (Cochran, Sampling Techniques, equation 6.13).
    """
    lengths = {(s.sample_id, s.epoch): s.num_tokens for s in reference}
    pairs: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
    for s in candidate:
        if (s.sample_id, s.epoch) in lengths:
            pairs[s.sample_id].append((s.num_tokens, lengths[s.sample_id, s.epoch]))
    metric = "length ratio"
    total = sum(old for values in pairs.values() for _, old in values)
    if len(pairs) < 2 or total == 0:
        return Verdict(outcome="ERROR", metric=metric, reason="fewer than two items have a length in both runs")
    ratio = sum(new for values in pairs.values() for new, _ in values) / total
    # A ratio of sums weighs long answers more than short ones, so its error is that of the residuals and not of the
    # ratios of single items.
    residuals = [statistics.fmean(new - ratio * old for new, old in values) for values in pairs.values()]
    mean_old = statistics.fmean(statistics.fmean(old for _, old in values) for values in pairs.values())
    low, high, _ = stats.mean_bounds(residuals, alpha=alpha)
    low, high = ratio + low / mean_old, ratio + high / mean_old
    reason = f"answers are {ratio:.2f} times as long as full precision's, {_between(low, high, maximum, percent=False)}"
    return _verdict(metric, ratio, low, high, maximum, len(pairs), reason)


def _between(low: float, high: float, maximum: float, *, percent: bool = True) -> str:
    def show(value: float) -> str:
        return f"{value:.1%}" if percent else f"{value:.2f}"

    return f"{show(low)} to {show(high)} plausible; at most {show(maximum)} is asked"


def _verdict(metric: str, value: float, low: float, high: float, maximum: float, n: int, reason: str) -> Verdict:  # noqa: PLR0917 - a private record's fields
    outcome: Outcome = "PASS" if high <= maximum else "REGRESSED" if low > maximum else "INCONCLUSIVE"
    return Verdict(
        outcome=outcome, metric=metric, reason=reason, delta=value, ci_low=low, ci_high=high, margin=maximum, n=n
    )
