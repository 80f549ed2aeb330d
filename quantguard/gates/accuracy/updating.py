"""A new baseline: measured where an update asks for it, and judged before it replaces anything.

Whether a run is fit to be a baseline is asked when one is measured, and when a run that a gate has made is accepted.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from quantguard.baselines import Acceptance, Baseline, baseline_from_runs
from quantguard.baselines.acceptance import author, today
from quantguard.benchmarks import Task
from quantguard.gates import GateResult, Session, compared_with, result_of
from quantguard.gates.accuracy.sequential import change_so_far
from quantguard.records import OUTCOMES, RunRecord, Score, Verdict
from quantguard.verdict import USUAL_TOLERANCE, AccuracyRule, judge_accuracy, notes_on_full_precision
from quantguard.verdict.metrics import with_length_ratio

FULL_PRECISION = "full precision"
REPLACED = "the baseline that it replaces"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A run that may become a baseline, judged."""

    against: str
    """What it looks worst against: full precision, or the baseline that it replaces."""
    verdict: Verdict
    """The verdict against that."""
    baseline: Baseline | None
    """The baseline, absent where the run may be worse than tolerated and nobody said why that is meant."""


def measure(
    task: Task,
    ids: Sequence[str],
    session: Session,
    *,
    previous: Baseline | None,
    path: str,
    rule: AccuracyRule,
    clusters: Mapping[str, str] | None,
) -> GateResult:
    """Run candidate and full precision on ``ids``; propose a baseline unless it is worse than the ``previous`` one."""
    # Full precision first: what it answered is kept for good, should the second run be broken off.
    reference = session.reference(task, ids)
    for_another = task.subset is not None and len(ids) > task.subset
    if for_another:
        # The other gate's tolerance is not known here, and may be stricter.
        rule = dataclasses.replace(rule, tol=min(USUAL_TOLERANCE, rule.tol or 1.0))
    estimate = functools.partial(change_so_far, baseline=reference.scores, rule=rule, clusters=clusters)
    with session.display(task, len(ids) * task.config.epochs, estimate) as display:
        record = session.run(task, ids, display=display)
    proposed = propose(
        record,
        reference.scores,
        previous,
        subject=task.name,
        rule=rule,
        reason=session.options.accepted_regression,
        how_to_give_one="add --quantguard-accept-regression=REASON",
        clusters=clusters,
    )
    notes = notes_on_full_precision(record, reference.scores, clusters)
    if for_another:
        notes.append(
            f"all {len(ids)} items of the baseline were measured, for the gate that asks for them, and"
            f" {USUAL_TOLERANCE * 100:.1f} points are tolerated: {task.subset} is this gate's own number"
        )
    record = dataclasses.replace(with_length_ratio(record, reference.scores), notes=(*record.notes, *notes))
    result = result_of("accuracy", session.candidate, task.name, proposed.verdict, record=record)
    if previous is None or proposed.against == FULL_PRECISION:
        result = compared_with(result, FULL_PRECISION, reference.scores, path=path, generations=reference.generations)
    else:
        result = compared_with(result, proposed.against, previous.scores("baseline"), path=path)
    if proposed.baseline is None:
        return dataclasses.replace(result, refused=True)
    session.measured[path] = proposed.baseline
    reason = f"baseline measured: against {proposed.against}, {proposed.verdict.reason}"
    verdict = dataclasses.replace(proposed.verdict, reason=reason)
    return dataclasses.replace(result, verdict=verdict, pending=proposed.baseline, pending_path=path)


def propose(
    record: RunRecord,
    reference: Sequence[Score],
    previous: Baseline | None,
    *,
    subject: str,
    rule: AccuracyRule,
    reason: str | None,
    how_to_give_one: str,
    clusters: Mapping[str, str] | None = None,
) -> Proposal:
    """Judge a run against full precision and what it replaces, and make a baseline of it.

    ``reason`` is needed for anything but a PASS, and kept; what cannot be judged is never a baseline.
    """
    ids = tuple(dict.fromkeys(score.sample_id for score in record.scores))
    verdicts = {
        FULL_PRECISION: judge_accuracy(record.scores, reference, expected_ids=ids, rule=rule, clusters=clusters)
    }
    if previous is not None:
        shared = tuple(id_ for id_ in previous.sample_ids if id_ in set(ids))
        # So few items that they prove nothing must not keep a baseline from growing, unless one of them was lost.
        if len(ids) == len(shared) or _loses(record.scores, previous):
            verdicts[REPLACED] = judge_accuracy(
                record.scores, previous.scores("baseline"), expected_ids=shared, rule=rule, clusters=clusters
            )
    against = max(verdicts, key=lambda key: OUTCOMES.index(verdicts[key].outcome))
    verdict = verdicts[against]
    if verdict.outcome == "ERROR" or (verdict.outcome != "PASS" and reason is None):
        advice = {
            "REGRESSED": f". To accept it anyhow, {how_to_give_one}",
            "INCONCLUSIVE": f", or accept it as it is: {how_to_give_one}",
        }.get(verdict.outcome, "")
        why = f"not accepted as a baseline: against {against}, {verdict.reason}{advice}"
        return Proposal(against=against, verdict=dataclasses.replace(verdict, reason=why), baseline=None)
    why = "no worse than tolerated" if verdict.outcome == "PASS" else str(reason)
    baseline = baseline_from_runs(record, reference, Acceptance(by=author(), on=today(), why=why))
    baseline = dataclasses.replace(baseline, benchmark=subject)
    if previous is not None and _same_content(previous, baseline):
        baseline = previous
    return Proposal(against=against, verdict=verdict, baseline=baseline)


def _loses(scores: Sequence[Score], previous: Baseline) -> bool:
    """Tell whether an item came out worse than in a baseline, or was not judged."""
    now = {(score.sample_id, score.epoch): score.value for score in scores}
    before = {(score.sample_id, score.epoch): score.value for score in previous.scores("baseline")}
    pairs = [(value, now[key]) for key, value in before.items() if key in now]
    return any(new is None or (old is not None and new < old) for old, new in pairs)


def _same_content(previous: Baseline, proposal: Baseline) -> bool:
    """Tell whether an update would change nothing but who accepted it and the recorded versions."""
    return dataclasses.replace(proposal, acceptance=previous.acceptance, recorded=previous.recorded) == previous
