"""Running a candidate against a baseline: in blocks until the verdict is clear, and together with runs before it.

A gate that is run again until it passes would pass by luck. So the answers of runs that did not pass are kept for a
day; a later run is averaged with them, item by item, and the level of its PASS is halved for every run before it.
Identical answers, as a deterministic model gives them, add nothing. A REGRESSED is cleared by such a PASS and by
nothing less.
"""

import dataclasses
import datetime as dt
import functools
import hashlib
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from quantguard import stats
from quantguard.gates._running import change_so_far
from quantguard.gates._session import EarlierRun, Session
from quantguard.records import GenerationConfig, RunRecord, Score, Verdict
from quantguard.verdict import AccuracyRule, Analysis, judge_accuracy


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is run and what it is judged by; ``num_seeds`` is how often sampled items may be answered in all."""

    benchmark: str
    sample_ids: tuple[str, ...]
    config: GenerationConfig
    baseline: tuple[Score, ...]
    rule: AccuracyRule
    method: stats.Method
    clusters: Mapping[str, str] | None
    num_seeds: int
    key: str

    def judge(self, scores: Sequence[Score], ids: Sequence[str], analysis: Analysis) -> Verdict:
        """Judge the answers to the items ``ids``."""
        return judge_accuracy(
            scores, self.baseline, expected_ids=ids, rule=self.rule, clusters=self.clusters, analysis=analysis
        )

    def watched(self, session: Session) -> AbstractContextManager[None]:
        """Show how the runs within the block fare beside the baseline so far."""
        estimate = functools.partial(change_so_far, baseline=self.baseline, rule=self.rule, clusters=self.clusters)
        return session.watched(self.benchmark, len(self.sample_ids) * self.config.epochs, estimate)


def decide(trial: Trial, session: Session) -> tuple[Verdict, RunRecord]:
    """Run until the verdict is clear or the budget spent; the notes of the record say what else was weighed."""
    earlier = () if session.reruns is None else session.reruns.earlier(trial.key)
    verdict, record = _in_blocks(trial, session, stop_early=not earlier)
    runs = earlier
    for number in range(trial.num_seeds):
        if number:
            runs = (*runs, _as_earlier(verdict, record))
            config = dataclasses.replace(trial.config, seed=trial.config.seed + number)
            with trial.watched(session):
                record = session.run(trial.benchmark, trial.sample_ids, config)
        if runs:
            verdict = _judge_together(trial, record.scores, runs)
        if verdict.outcome != "INCONCLUSIVE":
            break
    if session.reruns is not None:
        _keep(trial, session, verdict, (*runs[len(earlier) :], _as_earlier(verdict, record)))
    return verdict, dataclasses.replace(record, notes=(*record.notes, *_notes(earlier, runs)))


def _in_blocks(trial: Trial, session: Session, *, stop_early: bool) -> tuple[Verdict, RunRecord]:
    """Run block after block of the items, in random order, until a look decides."""
    ids = trial.sample_ids
    method: stats.Method = trial.method if stop_early else "off"
    looks = stats.stages(method, len(ids), alpha=trial.rule.alpha)
    if len(looks) > 1:
        ids = random_order(ids, seed=session.seed)
    records: list[RunRecord] = []
    num_done = 0
    with trial.watched(session):
        for stage in looks:
            records.append(session.run(trial.benchmark, ids[num_done : stage.num_items], trial.config))
            record, num_done = session.join(records), stage.num_items
            analysis = Analysis(stage.level, len(ids), final=num_done == len(ids), betting=stage.betting)
            verdict = trial.judge(record.scores, ids[:num_done], analysis)
            # Few items may seem incomparable by chance: only the last look calls a run an ERROR.
            if verdict.outcome in ("PASS", "REGRESSED"):
                break
    return verdict, record


def random_order(ids: Sequence[str], *, seed: int) -> tuple[str, ...]:
    """Return the items in an order that has nothing to do with how they were drawn, which was balanced over strata.

    A look at the first of balanced items is no look at independent ones, and bets on the next item need a random one.
    """
    return tuple(sorted(ids, key=lambda id_: hashlib.sha256(f"order:{seed}:{id_}".encode()).digest()))


def _judge_together(trial: Trial, scores: Sequence[Score], runs: Sequence[EarlierRun]) -> Verdict:
    """Judge the mean over all runs: PASS at a level that repeating cannot wear out, everything else at the usual."""
    now = _values(scores)
    known = [_values(run.scores) for run in runs]
    different = [values for index, values in enumerate(known) if values != now and values not in known[:index]]
    pooled = _pool([s for run in runs for s in run.scores], scores, different)
    # Items of earlier runs that this one leaves out stay: fewer items must not be a way to leave the lost ones behind.
    ids, level = tuple(dict.fromkeys(score.sample_id for score in pooled)), trial.rule.alpha
    verdict = trial.judge(pooled, ids, Analysis(level / 2 ** max(1, len(different)), len(ids)))
    if verdict.outcome in ("PASS", "ERROR"):
        return verdict
    usual = trial.judge(pooled, ids, Analysis(level, len(ids)))
    if usual.outcome == "REGRESSED":
        return usual
    if any(run.outcome == "REGRESSED" for run in runs):
        why = f"an earlier run regressed, and together with this one it is not cleared: {verdict.reason}"
        return dataclasses.replace(verdict, outcome="REGRESSED", reason=why)
    return verdict


def _pool(
    earlier: Sequence[Score], now: Sequence[Score], different: Sequence[dict[tuple[str, int], float | None]]
) -> list[Score]:
    """Return one score for every item and epoch of any run, its value the mean over the runs that differ."""
    latest = {(score.sample_id, score.epoch): score for score in (*earlier, *now)}
    current = _values(now)
    pooled = []
    for key, score in latest.items():
        values = [*_found(different, score), *([] if current.get(key) is None else [current[key]])]
        kept = [value for value in values if value is not None]
        missing = not kept or (key in current and current[key] is None)
        pooled.append(dataclasses.replace(score, value=None if missing else statistics.fmean(kept)))
    return pooled


def _values(scores: Sequence[Score]) -> dict[tuple[str, int], float | None]:
    return {(score.sample_id, score.epoch): score.value for score in scores}


def _found(runs: Sequence[dict[tuple[str, int], float | None]], score: Score) -> list[float]:
    values = [run.get((score.sample_id, score.epoch)) for run in runs]
    return [value for value in values if value is not None]


def _as_earlier(verdict: Verdict, record: RunRecord) -> EarlierRun:
    return EarlierRun(at=dt.datetime.now(dt.UTC).isoformat(), outcome=verdict.outcome, scores=record.scores)


def _keep(trial: Trial, session: Session, verdict: Verdict, runs: Sequence[EarlierRun]) -> None:
    assert session.reruns is not None
    if verdict.outcome == "PASS":
        session.reruns.forget(trial.key)
    elif verdict.outcome != "ERROR":
        for run in runs:
            session.reruns.remember(trial.key, run)


def _notes(earlier: Sequence[EarlierRun], runs: Sequence[EarlierRun]) -> list[str]:
    notes = []
    if earlier:
        times = ", ".join(dt.datetime.fromisoformat(run.at).strftime("%H:%M") for run in earlier)
        notes.append(
            f"judged together with what did not pass earlier, {len(earlier)} of this gate's runs ({times} UTC);"
            " --quantguard-fresh leaves them out"
        )
    if len(runs) > len(earlier):
        notes.append(f"every item was answered again with {len(runs) - len(earlier)} more seeds")
    return notes
