"""The accuracy rule: has accuracy fallen by more than is tolerated? Decided from the same items under two runs.

With D the true mean of candidate minus baseline over items, and bounds of one-sided level alpha:

* PASS where the lower bound of D is above ``-margin``: P(PASS | drop of margin or more) is about alpha at most.
* REGRESSED where the upper bound is below ``-margin``, or where the estimate is and the drop is significant;
  ``strict`` leaves the second arm out. P(REGRESSED | no drop) is about alpha at most.
* INCONCLUSIVE otherwise. ERROR where the two runs cannot be compared.

One binary outcome an item: Tango's bounds, widened to keep their level (``stats.flip_bounds``), and the exact McNemar
test. Several answers an item: t bounds over items, widened likewise. Items in clusters: cluster-robust t bounds over
clusters. An interim analysis of a run decides by the same rule, at its own smaller level and without the second arm.
"""

import collections
import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence

from quantguard.records import Score, Verdict
from quantguard.records.judgement import Basis, Outcome
from quantguard.verdict._evidence import Analysis, Evidence, estimate_change

METRIC = "accuracy"
# The absolute drop that is tolerated where nobody says: 4.5 points.
USUAL_TOLERANCE = 0.045
SMALLEST_JOINED_SHARE = 0.98
MEASURE_ANEW = "pytest --quantguard --quantguard-update=all"
# The candidate may hit the token limit, or give no answer, this much more often than the baseline; beyond it a run that
# has not regressed cannot be compared.
LARGEST_RATE_GAP = 0.02
# With fewer clusters, t bounds err more often than their level says.
FEWEST_CLUSTERS = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRule:
    """The tolerated drop; where both tolerances are given, the stricter one holds.

    Attributes:
        tol: The largest tolerated drop, a difference of accuracies.
        rtol: The largest tolerated drop as a share of the baseline's accuracy.
        alpha: The one-sided level of the verdict.
        strict: Whether REGRESSED needs a drop that is proven larger than tolerated; a significant one is not enough.
    """

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


# Sample id and epoch.
_Key = tuple[str, int]
# The scorers' rules for an incomplete answer, in words.
_INCOMPLETE = {"truncated": "hit the token limit", "unparsed": "left no answer to score"}


def judge_accuracy(
    candidate: Sequence[Score],
    baseline: Sequence[Score],
    *,
    expected_ids: Sequence[str],
    rule: AccuracyRule,
    clusters: Mapping[str, str] | None = None,
    analysis: Analysis | None = None,
) -> Verdict:
    """Judge two runs on the items ``expected_ids``; bounds and margin are differences of accuracies, 0..1.

    ``clusters`` maps items that depend on each other to one cluster; absent, all are independent. ``analysis`` is given
    if the run may stop early or was analysed before; absent, this is the only analysis, at level ``alpha``.
    """
    new, old = _by_answer(candidate, expected_ids), _by_answer(baseline, expected_ids)
    answers = sorted(new.keys() & old.keys())
    if (problem := _why_not(answers, new, old, expected_ids=expected_ids, rule=rule, clusters=clusters)) is not None:
        return _error(problem)
    analysis = analysis or Analysis(rule.alpha, len(expected_ids))

    def decide(kept: list[_Key]) -> Verdict:
        return _decide_on(kept, new, old, rule=rule, clusters=clusters, analysis=analysis)

    return _check_rates(decide(answers), candidate, baseline, answers, decide)


def interim_evidence(
    candidate: Sequence[Score], baseline: Sequence[Score], *, rule: AccuracyRule, clusters: Mapping[str, str] | None
) -> Evidence | None:
    """Estimate the change of accuracy of an unfinished run, with bounds of level ``alpha``; this decides nothing.

    None if fewer than two items are judged in both runs, or fewer clusters than a verdict needs.
    """
    ids = tuple(dict.fromkeys(score.sample_id for score in candidate))
    new, old = _by_answer(candidate, ids), _by_answer(baseline, ids)
    answers = sorted(new.keys() & old.keys())
    items = {id_ for id_, _ in answers}
    if len(items) < 2 or (clusters is not None and len({clusters[id_] for id_ in items}) < FEWEST_CLUSTERS):
        return None
    return _weigh(answers, new, old, clusters=clusters, analysis=Analysis(rule.alpha, len(items)))


def _why_not(
    answers: list[_Key],
    new: dict[_Key, float],
    old: dict[_Key, float],
    *,
    expected_ids: Sequence[str],
    rule: AccuracyRule,
    clusters: Mapping[str, str] | None,
) -> str | None:
    """Return why the two runs cannot be compared, or None if they can."""
    wanted = len(expected_ids) * len({epoch for _, epoch in (*new, *old)})
    if not answers or len(answers) < SMALLEST_JOINED_SHARE * wanted:
        return (
            f"only {len(answers)} of {wanted} items have a judged outcome in both runs"
            f" ({len(new)} in this run, {len(old)} in the baseline); at least {SMALLEST_JOINED_SHARE:.0%} must."
            f" Find out what lost them, or measure the baseline anew: {MEASURE_ANEW}"
        )
    accuracy = statistics.fmean(old[key] for key in answers)
    margin = rule.margin(accuracy)
    if margin >= accuracy:
        return (
            f"the baseline answers {accuracy:.1%} right, so a drop of {margin * 100:.1f} points could never show."
            " Look at its answers: is it the right model, prompt and benchmark? Then lower the tolerance"
        )
    items = {id_ for id_, _ in answers}
    if len(items) < 2:
        return "one item decides nothing; raise the limit"
    count = FEWEST_CLUSTERS if clusters is None else len({clusters[id_] for id_ in items})
    if count < FEWEST_CLUSTERS:
        return f"the items belong to {count} clusters; at least {FEWEST_CLUSTERS} are needed to tell chance from change"
    return None


def _decide_on(
    answers: list[_Key],
    new: dict[_Key, float],
    old: dict[_Key, float],
    *,
    rule: AccuracyRule,
    clusters: Mapping[str, str] | None,
    analysis: Analysis,
) -> Verdict:
    margin = rule.margin(statistics.fmean(old[key] for key in answers))
    num_items = len({id_ for id_, _ in answers})
    return _decide(_weigh(answers, new, old, clusters=clusters, analysis=analysis), margin, num_items, rule, analysis)


def _weigh(
    answers: list[_Key],
    new: dict[_Key, float],
    old: dict[_Key, float],
    *,
    clusters: Mapping[str, str] | None,
    analysis: Analysis,
) -> Evidence:
    differences = _per_item(new, old, answers)
    epochs = {epoch for _, epoch in answers}
    binary = len(epochs) == 1 and {new[key] for key in answers} | {old[key] for key in answers} <= {0.0, 1.0}
    groups = None if clusters is None else [clusters[id_] for id_ in differences]
    return estimate_change(list(differences.values()), groups, analysis, binary=binary)


def _by_answer(scores: Sequence[Score], expected_ids: Sequence[str]) -> dict[_Key, float]:
    """Return the judged values by sample and epoch."""
    wanted = set(expected_ids)
    return {
        (score.sample_id, score.epoch): score.value
        for score in scores
        if score.sample_id in wanted and score.value is not None
    }


def _per_item(new: dict[_Key, float], old: dict[_Key, float], answers: list[_Key]) -> dict[str, float]:
    """Return candidate minus baseline for each item, averaged over its epochs."""
    grouped: dict[str, list[float]] = collections.defaultdict(list)
    for key in answers:
        grouped[key[0]].append(new[key] - old[key])
    return {id_: statistics.fmean(values) for id_, values in grouped.items()}


def _decide(evidence: Evidence, margin: float, n: int, rule: AccuracyRule, analysis: Analysis) -> Verdict:
    flips = f"{evidence.lost} lost and {evidence.gained} gained of {n} items"
    change = f"changed by {evidence.delta * 100:+.1f} points"
    tolerated = f"{margin * 100:.1f} points"
    outcome: Outcome = "INCONCLUSIVE"
    basis: Basis | None = None
    reason = (
        f"{flips}; {change}, and anything from {evidence.low * 100:+.1f} to {evidence.high * 100:+.1f} is plausible"
        f" while {tolerated} are tolerated: more items are needed (a larger subset= or --quantguard-limit)"
    )
    if evidence.low > -margin:
        outcome, basis = "PASS", "proven"
        reason = f"{flips}; a drop of {tolerated} is ruled out (bound {evidence.low * 100:+.1f})"
    elif evidence.high < -margin:
        outcome, basis = "REGRESSED", "proven"
        reason = f"{flips}; {change}, and the drop is proven larger than {tolerated} (bound {evidence.high * 100:+.1f})"
    elif analysis.final and not rule.strict and evidence.delta < -margin and evidence.p_drop <= rule.alpha:
        outcome, basis = "REGRESSED", "significant"
        reason = f"{flips}; {change}, more than {tolerated}, and the drop is significant (p = {evidence.p_drop:.2g})"
    if not analysis.final and outcome != "INCONCLUSIVE":
        reason += f"; decided after {n} of {analysis.num_planned} items"
    return Verdict(
        outcome=outcome,
        metric=METRIC,
        reason=reason,
        delta=evidence.delta,
        ci_low=evidence.low,
        ci_high=evidence.high,
        margin=margin,
        n=n,
        num_planned=analysis.num_planned,
        p_drop=evidence.p_drop,
        basis=basis,
    )


def _check_rates(
    verdict: Verdict,
    candidate: Sequence[Score],
    baseline: Sequence[Score],
    answers: list[_Key],
    decide_on: Callable[[list[_Key]], Verdict],
) -> Verdict:
    """Turn a verdict into ERROR if the runs differ in truncated or missing answers, or scoring ran out of time.

    A run with more truncated answers has regressed only if it has also regressed on its complete answers: thinking
    beyond the token limit is not a wrong answer. A complete answer that says nothing is a wrong one.
    """
    new, old = ({(s.sample_id, s.epoch): s.explanation for s in side} for side in (candidate, baseline))
    for side in (new, old):
        if (late := statistics.fmean(side[key] == "timeout" for key in answers)) > LARGEST_RATE_GAP:
            return _error(f"{late:.1%} of the answers could not be compared in time: is the machine short of memory?")
    facts = {}
    for rule, what in _INCOMPLETE.items():
        now, before = (statistics.fmean(side[key] == rule for key in answers) for side in (new, old))
        if now - before > LARGEST_RATE_GAP:
            facts[rule] = f"{now:.1%} of this run {what}, {before:.1%} of the baseline"
    if not facts:
        return verdict
    fact = ", and ".join(facts.values())
    ended = [key for key in answers if new[key] != "truncated"] if "truncated" in facts else answers
    if verdict.outcome == "REGRESSED" and (
        ended is answers or (len({id_ for id_, _ in ended}) > 1 and decide_on(ended).outcome == "REGRESSED")
    ):
        return dataclasses.replace(verdict, reason=f"{verdict.reason}; {fact}")
    unfinished = len(answers) - len(ended)
    proof = f", and {unfinished} answers without an end are no proof of wrong ones" if unfinished else ""
    return _error(
        f"{fact}: the runs are not comparable{proof}. Raise max_new_tokens, or look whether the model loops (repeating)"
    )


def _error(reason: str) -> Verdict:
    return Verdict(outcome="ERROR", metric=METRIC, reason=reason)
