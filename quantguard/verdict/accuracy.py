"""Has accuracy fallen by more than is tolerated? Decided from the same items under two runs.

With D the true mean of candidate minus baseline over items, and bounds of one-sided level alpha:

* PASS where the lower bound of D is above ``-margin``: P(PASS | drop of margin or more) is about alpha at most.
* REGRESSED where the upper bound is below ``-margin``, or where the estimate is and the drop is significant;
  ``strict`` leaves the second arm out. P(REGRESSED | no drop) is about alpha at most.
* INCONCLUSIVE otherwise. ERROR where the two runs cannot be compared.

One binary outcome an item: Tango's bounds and the exact McNemar test, an exact bound where nothing flips. Otherwise:
t bounds over items.
"""

import collections
import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from quantguard import stats
from quantguard.records import Score, Verdict

METRIC = "accuracy"
SMALLEST_JOINED_SHARE = 0.98
MEASURE_ANEW = "pytest --quantguard --quantguard-update=all"
# How much more often the candidate may hit the token limit, or leave no answer, before a run that has not regressed is
# called incomparable.
LARGEST_RATE_GAP = 0.02


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRule:
    """What is tolerated: ``tol`` an absolute drop, ``rtol`` a share of the baseline's accuracy; the stricter holds."""

    tol: float | None
    rtol: float | None = None
    alpha: float = 0.05
    strict: bool = False

    def margin(self, baseline_accuracy: float) -> float:
        """Return the tolerated drop as an absolute difference of accuracies."""
        allowed = [self.tol] if self.tol is not None else []
        if self.rtol is not None:
            allowed.append(self.rtol * baseline_accuracy)
        return min(allowed)


# Sample and epoch.
_Key = tuple[str, int]
# The scorers' rules for an answer that is not there to be judged.
_INCOMPLETE = {"truncated": "hit the token limit", "unparsed": "left no answer to score"}


class _Evidence(NamedTuple):
    delta: float
    low: float
    high: float
    p_drop: float
    gained: int
    lost: int


def judge_accuracy(
    candidate: Sequence[Score], baseline: Sequence[Score], *, expected_ids: Sequence[str], rule: AccuracyRule
) -> Verdict:
    """Judge two runs on the items ``expected_ids``; bounds and margin are differences of accuracies, 0..1."""
    new, old = _by_answer(candidate, expected_ids), _by_answer(baseline, expected_ids)
    answers = sorted(new.keys() & old.keys())
    epochs = len({epoch for _, epoch in (*new, *old)})
    wanted = len(expected_ids) * epochs
    if not answers or len(answers) < SMALLEST_JOINED_SHARE * wanted:
        return _error(
            f"only {len(answers)} of {wanted} items have a judged outcome in both runs"
            f" ({len(new)} in this run, {len(old)} in the baseline); at least {SMALLEST_JOINED_SHARE:.0%} must."
            f" Find out what lost them, or measure the baseline anew: {MEASURE_ANEW}"
        )
    accuracy = statistics.fmean(old[key] for key in answers)
    margin = rule.margin(accuracy)
    if margin >= accuracy:
        return _error(
            f"the baseline answers {accuracy:.1%} right, so a drop of {margin * 100:.1f} points could never show."
            " Look at its answers: is it the right model, prompt and benchmark? Then lower the tolerance"
        )
    if len({id_ for id_, _ in answers}) < 2:
        return _error("one item decides nothing; raise the limit")
    verdict = _decide_on(answers, new, old, margin, rule)
    return _check_rates(verdict, candidate, baseline, answers, lambda kept: _decide_on(kept, new, old, margin, rule))


def _decide_on(
    answers: list[_Key], new: dict[_Key, float], old: dict[_Key, float], margin: float, rule: AccuracyRule
) -> Verdict:
    differences = _per_item(new, old, answers)
    epochs = {epoch for _, epoch in answers}
    binary = len(epochs) == 1 and {new[key] for key in answers} | {old[key] for key in answers} <= {0.0, 1.0}
    return _decide(_weigh(differences, binary=binary, alpha=rule.alpha), margin, len(differences), rule)


def _by_answer(scores: Sequence[Score], expected_ids: Sequence[str]) -> dict[_Key, float]:
    """Return the judged values by sample and epoch."""
    wanted = set(expected_ids)
    return {
        (score.sample_id, score.epoch): score.value
        for score in scores
        if score.sample_id in wanted and score.value is not None
    }


def _per_item(new: dict[_Key, float], old: dict[_Key, float], answers: list[_Key]) -> list[float]:
    """Return candidate minus baseline for every item, the mean over its epochs."""
    grouped: dict[str, list[float]] = collections.defaultdict(list)
    for key in answers:
        grouped[key[0]].append(new[key] - old[key])
    return [statistics.fmean(values) for values in grouped.values()]


def _weigh(differences: list[float], *, binary: bool, alpha: float) -> _Evidence:
    gained, lost = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    delta = statistics.fmean(differences)
    if gained + lost == 0:
        bound = stats.exact_no_flip_bound(len(differences), alpha=alpha)
        return _Evidence(0.0, -bound, bound, 1.0, 0, 0)
    if binary:
        counts = stats.PairedCounts(gained, lost, len(differences))
        return _Evidence(delta, *stats.tango_bounds(counts, alpha=alpha), stats.drop_p_value(counts), gained, lost)
    low, high, p_drop = stats.mean_bounds(differences, alpha=alpha)
    # Few items that hardly vary make the t bounds too sure; what no flip at all would leave possible stays possible.
    bound = stats.exact_no_flip_bound(len(differences), alpha=alpha)
    return _Evidence(delta, min(low, -bound), max(high, bound), p_drop, gained, lost)


def _decide(evidence: _Evidence, margin: float, n: int, rule: AccuracyRule) -> Verdict:
    flips = f"{evidence.lost} lost and {evidence.gained} gained of {n} items"
    change = f"changed by {evidence.delta * 100:+.1f} points"
    tolerated = f"{margin * 100:.1f} points"
    if evidence.low > -margin:
        outcome = "PASS"
        reason = f"{flips}; a drop of {tolerated} is ruled out (bound {evidence.low * 100:+.1f})"
    elif evidence.high < -margin:
        outcome = "REGRESSED"
        reason = f"{flips}; {change}, and the drop is proven larger than {tolerated} (bound {evidence.high * 100:+.1f})"
    elif not rule.strict and evidence.delta < -margin and evidence.p_drop <= rule.alpha:
        outcome = "REGRESSED"
        reason = f"{flips}; {change}, more than {tolerated}, and the drop is significant (p = {evidence.p_drop:.2g})"
    else:
        outcome = "INCONCLUSIVE"
        reason = (
            f"{flips}; {change}, and anything from {evidence.low * 100:+.1f} to {evidence.high * 100:+.1f} is plausible"
            f" while {tolerated} are tolerated: more items are needed (a larger subset= or --quantguard-limit)"
        )
    return Verdict(
        outcome=outcome,  # type: ignore[arg-type]  # the literals above
        metric=METRIC,
        reason=reason,
        delta=evidence.delta,
        ci_low=evidence.low,
        ci_high=evidence.high,
        margin=margin,
        n=n,
    )


def _check_rates(
    verdict: Verdict,
    candidate: Sequence[Score],
    baseline: Sequence[Score],
    answers: list[_Key],
    decide_on: Callable[[list[_Key]], Verdict],
) -> Verdict:
    """Turn a verdict into ERROR where the runs truncate or answer too differently, or answers were not compared.

    A run that has regressed on the answers that came to an end as well has regressed; one that has not is no worse
    that one can tell, but thinks longer than the limit lets it, or leaves out the answer.
    """
    new, old = ({(s.sample_id, s.epoch): s.explanation for s in side} for side in (candidate, baseline))
    for side in (new, old):
        if (late := statistics.fmean(side[key] == "timeout" for key in answers)) > LARGEST_RATE_GAP:
            return _error(f"{late:.1%} of the answers could not be compared in time: is the machine short of memory?")
    facts, ended = [], answers
    for rule, what in _INCOMPLETE.items():
        now, before = (statistics.fmean(side[key] == rule for key in answers) for side in (new, old))
        if now - before > LARGEST_RATE_GAP:
            facts.append(f"{now:.1%} of this run {what}, {before:.1%} of the baseline")
            ended = [key for key in ended if new[key] != rule]
    if not facts:
        return verdict
    fact = ", and ".join(facts)
    if (
        verdict.outcome == "REGRESSED"
        and len({id_ for id_, _ in ended}) > 1
        and decide_on(ended).outcome == "REGRESSED"
    ):
        return dataclasses.replace(verdict, reason=f"{verdict.reason}; {fact}")
    return _error(
        f"{fact}: the runs are not comparable, and {len(answers) - len(ended)} answers without an end are no proof of"
        " wrong ones. Raise max_new_tokens, or look whether the model loops (repeating)"
    )


def _error(reason: str) -> Verdict:
    return Verdict(outcome="ERROR", metric=METRIC, reason=reason)
