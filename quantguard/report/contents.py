"""The contents of a report, collected from gate results, benchmarks and git."""

import dataclasses
import datetime as dt
import pathlib
from collections.abc import Sequence
from importlib import metadata

from quantguard.baselines.history import Point, history_of
from quantguard.baselines.survey import Notice
from quantguard.benchmarks import Benchmarks
from quantguard.errors import BaselineError, QuantguardError
from quantguard.gates import GateResult
from quantguard.records import RunRecord, Sample, Score


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An item whose score changed between the other run of a comparison and this one.

    Attributes:
        before: Its score in the other run.
        after: Its score in this run.
        before_text: What the other model wrote; absent if only the score was kept.
        after_text: What this model wrote; absent if only the score was kept.
        sample: The benchmark's item; absent if the benchmark is not available here.
    """

    before: Score
    after: Score
    before_text: str | None
    after_text: str | None
    sample: Sample | None

    @property
    def lost(self) -> bool:
        """Whether the score got worse."""
        return (self.after.value or 0.0) < (self.before.value or 0.0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A gate's result with its test, its flips and its baseline's history.

    Attributes:
        anchor: The id of the entry within the page.
        test: The node id of the test.
        result: What the gate found.
        flips: The items whose score changed.
        history: The commits of the gate's baseline, oldest first.
    """

    anchor: str
    test: str
    result: GateResult
    flips: tuple[Flip, ...]
    history: tuple[Point, ...]

    @property
    def lost(self) -> tuple[Flip, ...]:
        """The items whose score got worse."""
        return tuple(flip for flip in self.flips if flip.lost)

    @property
    def gained(self) -> tuple[Flip, ...]:
        """The items whose score got better."""
        return tuple(flip for flip in self.flips if not flip.lost)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All gate results of a pytest run, in its order.

    Attributes:
        entries: One for each result.
        version: The version of quantguard that wrote the report.
        made: When it was written, in UTC.
        notices: Remarks on stored baselines.
    """

    entries: tuple[Entry, ...]
    version: str
    made: str
    notices: tuple[Notice, ...] = ()

    @property
    def results(self) -> tuple[tuple[str, GateResult], ...]:
        """The results with their tests."""
        return tuple((entry.test, entry.result) for entry in self.entries)


def collect_report(
    results: Sequence[tuple[str, GateResult]], notices: Sequence[Notice] = (), benchmarks: Benchmarks | None = None
) -> Report:
    """Collect what the report shows of each result; ``benchmarks`` are those that the run has read already."""
    benchmarks = Benchmarks() if benchmarks is None else benchmarks
    histories = {path: _history(path) for _, result in results if (path := result.baseline) is not None}
    entries = tuple(
        Entry(
            anchor=f"gate-{index}",
            test=test,
            result=result,
            flips=_flips(result, benchmarks),
            history=histories.get(str(result.baseline), ()),
        )
        for index, (test, result) in enumerate(results, 1)
    )
    now = dt.datetime.now(dt.UTC)
    made = f"{now:%Y-%m-%d %H:%M} UTC"
    return Report(entries=entries, version=metadata.version("quantguard"), made=made, notices=tuple(notices))


def _history(path: str) -> tuple[Point, ...]:
    """Return the commits of a baseline that hold an accuracy; empty if git cannot tell, since history is an extra."""
    try:
        return tuple(point for point in history_of(pathlib.Path(path)) if point.accepted is not None)
    except BaselineError:
        return ()


def _flips(result: GateResult, benchmarks: Benchmarks) -> tuple[Flip, ...]:
    record = result.record
    if record is None or not result.counterparts:
        return ()
    scores = {(score.sample_id, score.epoch): score for score in record.scores}
    texts = {(generation.sample_id, generation.epoch): generation.text for generation in record.generations}
    samples = _samples(benchmarks, record.benchmark, record.fingerprint.question.data)
    return tuple(
        Flip(
            before=other.score,
            after=scores[key],
            before_text=other.text,
            after_text=texts.get(key),
            sample=samples.get(key[0]),
        )
        for other in result.counterparts
        if (key := (other.score.sample_id, other.score.epoch)) in scores
    )


def _samples(benchmarks: Benchmarks, benchmark: str, sha256: str | None) -> dict[str, Sample]:
    """Return a benchmark's items by id; empty if it is not available here or has changed since the run."""
    try:
        data = benchmarks[benchmark]
    except QuantguardError:
        return {}
    return {sample.id: sample for sample in data.samples} if data.sha256 == sha256 else {}


def recorded_entries(report: Report) -> list[tuple[Entry, RunRecord]]:
    """Return each entry that has a run record, with the record."""
    return [(entry, entry.result.record) for entry in report.entries if entry.result.record is not None]
