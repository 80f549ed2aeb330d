"""Is a run fit to be a baseline? Asked when one is measured, and when a run that a gate has made is accepted."""

import dataclasses
from collections.abc import Mapping, Sequence

from quantguard.baselines import Acceptance, Baseline, baseline_from_runs
from quantguard.gates._accepting import author, today
from quantguard.records import OUTCOMES, RunRecord, Score, Verdict
from quantguard.verdict import AccuracyRule, judge_accuracy

FULL_PRECISION = "full precision"
REPLACED = "the baseline that it replaces"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A baseline, or none where the run may be worse than tolerated and nobody said why that is meant.

    ``verdict`` is the worse of those ``against`` full precision and the baseline that is replaced.
    """

    against: str
    verdict: Verdict
    baseline: Baseline | None


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
