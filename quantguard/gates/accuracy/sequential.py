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

from quantguard import stats
from quantguard.benchmarks import Task
from quantguard.errors import MeasurementError
from quantguard.gates import EarlierRun, EarlierRuns, Estimate, Session
from quantguard.records import RunRecord, Score, Verdict
from quantguard.verdict import AccuracyRule, Analysis, interim_evidence, judge_accuracy
from quantguard.verdict.metrics import reasoning, summarize


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequentialTest:
    """What is run, what it is compared with and what it is judged by."""

    task: Task
    """What is run."""
    sample_ids: tuple[str, ...]
    """The items, in the order of the baseline."""
    baseline: tuple[Score, ...]
    """The scores that it is compared with."""
    rule: AccuracyRule
    """What is tolerated."""
    method: stats.Method
    """How it ends as soon as its verdict is clear."""
    clusters: Mapping[str, str] | None
    """What each item belongs to, absent where items are independent."""
    num_seeds: int
    """How often sampled items may be answered in all."""

    def judge(self, scores: Sequence[Score], ids: Sequence[str], analysis: Analysis) -> Verdict:
        """Judge the answers to the items ``ids``."""
        return judge_accuracy(
            scores, self.baseline, expected_ids=ids, rule=self.rule, clusters=self.clusters, analysis=analysis
        )

    def flip_rate(self, scores: Sequence[Score]) -> float:
        """Return the share of answers whose value is not the one that is compared with."""
        old = {(score.sample_id, score.epoch): score.value for score in self.baseline}
        return statistics.fmean(score.value != old.get((score.sample_id, score.epoch)) for score in scores)

    @property
    def baseline_accuracy(self) -> float:
        """The accuracy that is compared with, on the items that run; 0 where none of them was judged."""
        run = set(self.sample_ids)
        known = [score.value for score in self.baseline if score.value is not None and score.sample_id in run]
        return statistics.fmean(known or [0.0])

    @property
    def num_answers(self) -> int:
        """The answers of one run that stops nowhere."""
        return len(self.sample_ids) * self.task.config.epochs

    @property
    def estimate(self) -> Estimate:
        """What words the change of accuracy while answers come."""
        return functools.partial(change_so_far, baseline=self.baseline, rule=self.rule, clusters=self.clusters)


def change_so_far(
    scores: Sequence[Score], *, baseline: Sequence[Score], rule: AccuracyRule, clusters: Mapping[str, str] | None
) -> str:
    """Return the change of accuracy in points with both bounds of the rule's level; empty where nothing is to say.

    It is no look at the run: nothing is decided by it.
    """
    evidence = interim_evidence(scores, baseline, rule=rule, clusters=clusters)
    if evidence is None:
        return ""
    delta, low, high = (f"{100 * value:+.1f}" for value in (evidence.delta, evidence.low, evidence.high))
    return f"{delta} points ({low} to {high})"


def decide(test: SequentialTest, session: Session, memory: EarlierRuns | None) -> tuple[Verdict, RunRecord]:
    """Run until the verdict is clear or the budget spent; the notes of the record say what else was weighed."""
    earlier = () if memory is None else memory.read()
    verdict, record = _in_blocks(test, session, stop_early=not earlier)
    runs = earlier
    for number in range(test.num_seeds):
        if number:
            runs = (*runs, _as_earlier(verdict, record))
            config = dataclasses.replace(test.task.config, seed=test.task.config.seed + number)
            task = dataclasses.replace(test.task, config=config)
            with session.display(task, test.num_answers, test.estimate) as display:
                record = session.run(task, test.sample_ids, display=display)
        if runs:
            verdict = _judge_together(test, record.scores, runs)
        if verdict.outcome != "INCONCLUSIVE":
            break
    if memory is not None:
        _keep(memory, verdict, (*runs[len(earlier) :], _as_earlier(verdict, record)))
    return verdict, dataclasses.replace(record, notes=(*record.notes, *_notes(earlier, runs)))


def _in_blocks(test: SequentialTest, session: Session, *, stop_early: bool) -> tuple[Verdict, RunRecord]:
    """Run block after block of the items, in random order, until a look decides."""
    ids = test.sample_ids
    method: stats.Method = test.method if stop_early else "off"
    looks = stats.stages(method, len(ids), alpha=test.rule.alpha)
    if len(looks) > 1:
        ids = random_order(ids, seed=session.options.seed)
    records: list[RunRecord] = []
    num_done = 0
    with session.display(test.task, test.num_answers, test.estimate) as display:
        for stage in looks:
            records.append(session.run(test.task, ids[num_done : stage.num_items], display=display))
            record, num_done = join(records), stage.num_items
            analysis = Analysis(stage.level, len(ids), final=num_done == len(ids), betting=stage.betting)
            verdict = test.judge(record.scores, ids[:num_done], analysis)
            # Few items may seem incomparable by chance: only the last look calls a run an ERROR.
            if verdict.outcome in ("PASS", "REGRESSED"):
                break
    return verdict, record


def random_order(ids: Sequence[str], *, seed: int) -> tuple[str, ...]:
    """Return the items in an order that has nothing to do with how they were drawn, which was balanced over strata.

    A look at the first of balanced items is no look at independent ones, and bets on the next item need a random one.
    """
    return tuple(sorted(ids, key=lambda id_: hashlib.sha256(f"order:{seed}:{id_}".encode()).digest()))


def join(records: Sequence[RunRecord]) -> RunRecord:
    """Return the record of all blocks of one run, epoch by epoch; its rates are those of all answers.

    Raises MeasurementError for blocks of different runs, and for an answer that two of them have.
    """
    first = records[0]
    if len(records) == 1:
        return first
    if different := sorted({d.name for record in records for d in first.fingerprint.differences(record.fingerprint)}):
        raise MeasurementError(f"blocks of one run differ in {', '.join(different)}: something changed while it ran")
    seen = [(score.sample_id, score.epoch) for record in records for score in record.scores]
    if len(set(seen)) != len(seen):
        raise MeasurementError("two blocks of one run have an answer to the same item")
    scores = tuple(sorted((s for record in records for s in record.scores), key=lambda score: score.epoch))
    generations = tuple(sorted((g for record in records for g in record.generations), key=lambda item: item.epoch))
    if generations:
        metrics = summarize(scores) | reasoning(generations)
    else:
        weights = [len(record.scores) for record in records]
        metrics = {
            name: statistics.fmean([record.metrics[name] for record in records], weights) for name in first.metrics
        }
    notes = tuple(dict.fromkeys(note for record in records for note in record.notes))
    return dataclasses.replace(first, scores=scores, generations=generations, metrics=metrics, notes=notes)


def _judge_together(test: SequentialTest, scores: Sequence[Score], runs: Sequence[EarlierRun]) -> Verdict:
    """Judge the mean over all runs: PASS at a level that repeating cannot wear out, everything else at the usual."""
    now = _values(scores)
    known = [_values(run.scores) for run in runs]
    different = [values for index, values in enumerate(known) if values != now and values not in known[:index]]
    pooled = _pool([s for run in runs for s in run.scores], scores, different)
    # Items of earlier runs that this one leaves out stay: fewer items must not be a way to leave the lost ones behind.
    ids, level = tuple(dict.fromkeys(score.sample_id for score in pooled)), test.rule.alpha
    verdict = test.judge(pooled, ids, Analysis(level / 2 ** max(1, len(different)), len(ids)))
    if verdict.outcome in ("PASS", "ERROR"):
        return verdict
    usual = test.judge(pooled, ids, Analysis(level, len(ids)))
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


def _keep(memory: EarlierRuns, verdict: Verdict, runs: Sequence[EarlierRun]) -> None:
    if verdict.outcome == "PASS":
        memory.forget()
    elif verdict.outcome != "ERROR":
        for run in runs:
            memory.add(run)


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
