"""Everything that a report shows, put together from the results, the benchmarks and git."""

import dataclasses
import datetime as dt
import functools
import pathlib
from collections.abc import Sequence
from importlib import metadata

from quantguard import benchmarks
from quantguard.baselines.history import Point, history_of
from quantguard.baselines.survey import Notice
from quantguard.errors import BaselineError, QuantguardError
from quantguard.gates import GateResult
from quantguard.records import RunRecord, Sample, Score


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An item whose score is another than in the run that was compared with; texts are absent where nobody has them."""

    before: Score
    after: Score
    before_text: str | None
    after_text: str | None
    sample: Sample | None

    @property
    def lost(self) -> bool:
        """Whether it got worse."""
        return (self.after.value or 0.0) < (self.before.value or 0.0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A gate's result with the test that it came from; ``anchor`` names it within the page."""

    anchor: str
    test: str
    result: GateResult
    flips: tuple[Flip, ...]
    history: tuple[Point, ...]

    @property
    def lost(self) -> tuple[Flip, ...]:
        """The items that got worse."""
        return tuple(flip for flip in self.flips if flip.lost)

    @property
    def gained(self) -> tuple[Flip, ...]:
        """The items that got better."""
        return tuple(flip for flip in self.flips if not flip.lost)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All results of a run of pytest, in its order, and what is to be said of stored baselines."""

    entries: tuple[Entry, ...]
    version: str
    made: str
    notices: tuple[Notice, ...] = ()

    @property
    def results(self) -> tuple[tuple[str, GateResult], ...]:
        """The results with their tests."""
        return tuple((entry.test, entry.result) for entry in self.entries)


def gather(results: Sequence[tuple[str, GateResult]], notices: Sequence[Notice] = ()) -> Report:
    """Put together what the report shows of each result."""
    histories = {path: _history(path) for _, result in results if (path := result.baseline) is not None}
    entries = tuple(
        Entry(
            anchor=f"gate-{index}",
            test=test,
            result=result,
            flips=_flips(result),
            history=histories.get(str(result.baseline), ()),
        )
        for index, (test, result) in enumerate(results, 1)
    )
    now = dt.datetime.now(dt.UTC)
    made = f"{now:%Y-%m-%d %H:%M} UTC"
    return Report(entries=entries, version=metadata.version("quantguard"), made=made, notices=tuple(notices))


def _history(path: str) -> tuple[Point, ...]:
    """Return the commits of a baseline that say an accuracy: an extra, so what git cannot say is left out."""
    try:
        return tuple(point for point in history_of(pathlib.Path(path)) if point.accepted is not None)
    except BaselineError:
        return ()


def _flips(result: GateResult) -> tuple[Flip, ...]:
    record = result.record
    if record is None or not result.counterparts:
        return ()
    scores = {(score.sample_id, score.epoch): score for score in record.scores}
    texts = {(generation.sample_id, generation.epoch): generation.text for generation in record.generations}
    samples = _samples(record.benchmark, record.must_match.get("data"))
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


@functools.lru_cache(maxsize=8)
def _samples(benchmark: str, sha256: str | None) -> dict[str, Sample]:
    """Return the items by id; none where the benchmark is not here, or is not what the run was made on."""
    try:
        data = benchmarks.members[benchmark].load()
    except QuantguardError:
        return {}
    return {sample.id: sample for sample in data.samples} if data.sha256 == sha256 else {}


def runs(report: Report) -> list[tuple[Entry, RunRecord]]:
    """Return the entries that have a record, with it."""
    return [(entry, entry.result.record) for entry in report.entries if entry.result.record is not None]
