"""The kinds of gates: a file or a package each, which becomes a marker of the same name.

A member has a frozen dataclass ``Gate`` whose fields are the marker's keywords and whose construction refuses what
cannot be meant, and ``check(gate, session)`` returning a GateResult. What it measures it asks of the session. Where it
can tell beforehand what it can decide, it has ``plan(gate, candidate, options, benchmarks)`` too, returning what has
``lines()`` and a ``problem``; where it has a baseline, ``locate_baseline(gate, session)``, returning where that
belongs, and ``baseline_name(gate)``, what it is called. ``LIMIT`` says what the margin of its verdicts is: the largest
tolerated ``drop``, a ``floor`` or a ``ceiling``.
"""

import dataclasses
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from quantguard.baselines import Baseline, LayerProfile
from quantguard.baselines.store import BaselineLocation
from quantguard.benchmarks import Benchmark, Benchmarks, Task
from quantguard.records import (
    Counterpart,
    Fingerprint,
    Generation,
    LayerReport,
    Outcome,
    RunRecord,
    Score,
    TimedBlock,
    Verdict,
)
from quantguard.records.candidate import Candidate
from quantguard.run_options import RunOptions

# Why nothing was judged where that is no ERROR: the test was skipped, or the run ended before it.
Unjudged = Literal["SKIPPED", "NOT RUN"]
# What stands in a result for the gate, where a test as a whole is told of and no gate of it.
TEST = "test"
# Words what the scores of a run that goes on amount to; empty where they are too few.
Estimate = Callable[[Sequence[Score]], str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One decided gate: the verdict, what it was about, and a baseline to be stored where an update was asked for."""

    gate: str
    """The kind of the gate, or ``test`` where a test as a whole is told of."""
    model: str
    """What the candidate is called."""
    recipe: str
    """The recipe's name."""
    subject: str
    """What was measured, such as the name of a task."""
    platform: str
    """What the candidate ran on."""
    verdict: Verdict
    """The decision; the reason alone where nothing was judged."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""
    record: RunRecord | None = None
    """The run that was judged, absent for a gate that runs no items."""
    pending: Baseline | LayerProfile | None = None
    """The baseline that was measured and is to be stored."""
    pending_path: str | None = None
    """Where it is to be stored."""
    against: str | None = None
    """The run that was compared with, in words for the report."""
    baseline: str | None = None
    """The path of the file that run came from."""
    counterparts: tuple[Counterpart, ...] = ()
    """The items of that run that came out differently."""
    layers: tuple[LayerReport, ...] = ()
    """How quantization went, layer by layer."""
    timings: tuple[TimedBlock, ...] = ()
    """The timed blocks in the order in which they ran."""
    place: BaselineLocation | None = None
    """Where the gate's own baseline belongs, whether it is there or not."""
    refused: bool = False
    """Whether a baseline was measured and not accepted, which no option makes good but a reason."""
    traceback: str | None = None
    """That of an exception that nobody raised on purpose; an error of quantguard's own says everything itself."""
    unjudged: Unjudged | None = None
    """Why there is no verdict where that is no ERROR."""

    @property
    def label(self) -> str:
        """The outcome, or ``MEASURED``, ``SKIPPED`` or ``NOT RUN`` where nothing was judged."""
        return "MEASURED" if self.pending is not None else self.unjudged or self.verdict.outcome

    @property
    def of_test(self) -> bool:
        """Whether it tells of a test as a whole."""
        return self.gate == TEST

    def fails(self, *, inconclusive: Literal["warn", "fail"]) -> bool:
        """Tell whether a run that has it may not be green; ``inconclusive`` is what an undecided gate does."""
        tolerated = {"PASS", "MEASURED", "SKIPPED"} | ({"INCONCLUSIVE"} if inconclusive == "warn" else set())
        return self.refused or self.label not in tolerated


def result_of(
    kind: str,
    candidate: Candidate,
    subject: str,
    verdict: Verdict,
    *,
    record: RunRecord | None = None,
    notes: Sequence[str] | None = None,
) -> GateResult:
    """Return the result of a gate on a candidate; absent, the notes are those of the record or of the candidate."""
    if notes is None:
        notes = candidate.notes if record is None else record.notes
    return GateResult(
        gate=kind,
        model=candidate.model,
        recipe=candidate.recipe,
        subject=subject,
        platform=candidate.platform,
        verdict=verdict,
        notes=tuple(notes),
        record=record,
    )


def compared_with(
    result: GateResult, against: str, scores: Sequence[Score], *, path: str, generations: Iterable[Generation] = ()
) -> GateResult:
    """Return the result with what the run ``against`` made of the items that its record scored differently.

    ``path`` is the baseline's; ``generations`` are what that run wrote, where they are at hand.
    """
    values = {(s.sample_id, s.epoch): s.value for s in result.record.scores} if result.record is not None else {}
    texts = {(generation.sample_id, generation.epoch): generation.text for generation in generations}
    counterparts = tuple(
        Counterpart(score=score, text=texts.get((score.sample_id, score.epoch)))
        for score in scores
        if _differ(score.value, values.get((score.sample_id, score.epoch)))
    )
    return dataclasses.replace(result, against=against, baseline=path, counterparts=counterparts)


def _differ(before: float | None, now: float | None) -> bool:
    """Tell whether both were judged, and not alike."""
    return before is not None and now is not None and before != now


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRun:
    """A run of the same gate that did not pass."""

    at: str
    """When it was judged: ISO, UTC."""
    outcome: Outcome
    """How it was judged."""
    scores: tuple[Score, ...]
    """What it answered."""


class EarlierRuns(Protocol):
    """The runs of one gate of the last day that did not pass."""

    def read(self) -> tuple[EarlierRun, ...]:
        """Return them, the oldest first."""

    def add(self, run: EarlierRun) -> None:
        """Keep one more."""

    def forget(self) -> None:
        """Drop them all."""


class Display(Protocol):
    """What shows a user how far a run is."""

    def answered(self, count: int, *, resumed: bool = False) -> None:
        """Show that so many answers have come; ``resumed`` ones are of an earlier run."""

    def scored(self, score: Score) -> None:
        """Take in one more score, from whatever thread."""


class Session(Protocol):
    """One candidate under test, with its full-precision model; the pipeline implements it."""

    candidate: Candidate
    """The names of the model under test."""
    options: RunOptions
    """What the user said about all gates."""
    benchmarks: Benchmarks
    """The benchmarks of this run, each of which is read once."""
    measured: MutableMapping[str, Baseline]
    """The baselines that gates of this run have measured, by path, whether they are on the disk or not."""

    def fingerprint(self, task: Task | None = None) -> Fingerprint:
        """Return what a baseline of a task has to share with a run of the candidate, or what its layers have to."""

    def run(self, task: Task, sample_ids: Sequence[str], *, display: Display | None = None) -> RunRecord:
        """Run the candidate on the named samples; ``display`` is one that several runs share."""

    def reference(self, task: Task, sample_ids: Sequence[str]) -> RunRecord:
        """Run the full-precision model on the named samples."""

    def display(self, task: Task, num_answers: int, estimate: Estimate) -> AbstractContextManager[Display]:
        """Show runs of the candidate as one of so many answers, with what they amount to."""

    def earlier_runs(self, *facts: object) -> EarlierRuns | None:
        """Return the runs that did not pass of the gate that these facts make; None where none are kept."""

    def measure(self, kind: str, *, gate: str, **settings: Any) -> Any:
        """Have a member of ``quantguard.measures`` measure both models; ``gate`` is who asks, for an error message."""

    def record(self, benchmark: Benchmark, metrics: dict[str, float]) -> RunRecord:
        """Return the record of a measurement of the candidate on a benchmark's text."""
