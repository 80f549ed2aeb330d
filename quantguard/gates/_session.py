"""What a gate is given to measure with, and what it gives back."""

import dataclasses
import pathlib
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

from quantguard.baselines import Baseline, LayerProfile
from quantguard.baselines.survey import Place
from quantguard.records import (
    Counterpart,
    Fingerprint,
    GenerationConfig,
    LayerError,
    LayerReport,
    LayerSketch,
    Outcome,
    RunRecord,
    Score,
    TimedBlock,
    Verdict,
)
from quantguard.stats import Method

Update = Literal["new", "changed", "all"]
# Why nothing was judged where that is no ERROR: the test was skipped, or the run ended before it.
Unjudged = Literal["SKIPPED", "NOT RUN"]
# What stands in a result for the gate, where a test as a whole is told of and no gate of it.
TEST = "test"
# Words what the scores of a run that goes on amount to; empty where they are too few.
Estimate = Callable[[Sequence[Score]], str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One decided gate: the verdict, what it was about, and a baseline to be stored where an update was asked for.

    ``refused`` says that a baseline was measured and not accepted, which no option makes good but a reason.

    The rest is for the report: ``against`` names the run that was compared with, ``baseline`` is the path of the file
    that it came from, and ``counterparts`` are its items that came out differently. ``place`` is where the gate's own
    baseline belongs, whether it is there or not. ``layers`` say how quantization went, ``timings`` are the timed blocks
    in the order in which they ran. ``traceback`` is that of an exception that nobody raised on purpose; an error of
    quantguard's own says everything itself. ``unjudged`` is why there is no verdict where that is no ERROR; ``verdict``
    then holds the reason alone.
    """

    gate: str
    model: str
    recipe: str
    subject: str
    platform: str
    verdict: Verdict
    notes: tuple[str, ...] = ()
    record: RunRecord | None = None
    pending: Baseline | LayerProfile | None = None
    pending_path: str | None = None
    against: str | None = None
    baseline: str | None = None
    counterparts: tuple[Counterpart, ...] = ()
    layers: tuple[LayerReport, ...] = ()
    timings: tuple[TimedBlock, ...] = ()
    place: Place | None = None
    refused: bool = False
    traceback: str | None = None
    unjudged: Unjudged | None = None

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


class Bytes(NamedTuple):
    """What weights take: the candidate's in memory, and the full-precision model's in its files."""

    candidate: int
    stored: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The most bytes that a model took while it read a prompt and while it wrote, of what ``counted`` says in words."""

    prefill: int
    decode: int
    counted: str

    @property
    def bytes(self) -> int:
        """The larger of the two."""
        return max(self.prefill, self.decode)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRun:
    """A run of the same gate that did not pass, with the time (ISO, UTC) at which it was judged."""

    at: str
    outcome: Outcome
    scores: tuple[Score, ...]


class Reruns(Protocol):
    """The runs of the last day that did not pass, by gate."""

    def earlier(self, key: str) -> tuple[EarlierRun, ...]:
        """Return those of a gate, the oldest first."""

    def remember(self, key: str, run: EarlierRun) -> None:
        """Keep one more."""

    def forget(self, key: str) -> None:
        """Drop those of a gate."""


class Session(Protocol):
    """One candidate under test, with its full-precision model; the pipeline implements it.

    ``reference`` names the full-precision model, where there is one. ``measured`` are the baselines that gates of this
    run have measured, by path, whether they are on the disk or not.
    """

    model: str
    recipe: str
    platform: str
    reference: str | None
    baselines: pathlib.Path
    update: Update | None
    accepted_regression: str | None
    limit: int | None
    seed: int
    early_stop: Method
    inconclusive: Literal["warn", "fail"]
    reruns: Reruns | None
    measured: MutableMapping[str, Baseline]

    def rerun_key(self, benchmark: str, config: GenerationConfig, baseline: Baseline) -> str:
        """Name the gate by everything that its answers depend on, whatever the seed."""

    def join(self, records: Sequence[RunRecord]) -> RunRecord:
        """Return one record of a run that was made in blocks."""

    def fingerprint(self, benchmark: str, config: GenerationConfig) -> Fingerprint:
        """Return what a baseline has to share with a run of the candidate, before anything runs."""

    def draw(self, benchmark: str, subset: int | None) -> tuple[str, ...]:
        """Return the ids of the items of a new baseline: ``subset`` of the benchmark, or its default number."""

    def watched(self, benchmark: str, num_answers: int, estimate: Estimate) -> AbstractContextManager[None]:
        """Show the runs of the candidate within the block as one of so many answers, with what they amount to."""

    def run(self, benchmark: str, sample_ids: Sequence[str], config: GenerationConfig) -> RunRecord:
        """Run the candidate on the named samples."""

    def run_reference(self, benchmark: str, sample_ids: Sequence[str], config: GenerationConfig) -> RunRecord:
        """Run the full-precision model on the named samples."""

    def config(self, benchmark: str, gate: "SupportsDecoding") -> GenerationConfig:
        """Return how text is generated for a gate."""

    def fidelity(self, benchmark: str, subset: int | None) -> RunRecord:
        """Compare the candidate's predictions with full precision's on a benchmark's text or answers."""

    def layer_fingerprint(self) -> Fingerprint:
        """Return what a stored profile of the candidate's layers has to share with it."""

    def layer_sketches(self) -> tuple[LayerSketch, ...]:
        """Return a sketch of what every layer of the candidate puts out on a fixed text."""

    def layer_errors(self, backend: str) -> tuple[LayerError, ...]:
        """Return how far the candidate's layers are from the same recipe's on another kernel backend."""

    def timing(self, stage: str, *, num_tokens: int) -> AbstractContextManager[Callable[[int], Sequence[TimedBlock]]]:
        """Have the machine's timing to oneself, and time a number of blocks of full precision against the candidate."""

    def bytes_of_weights(self) -> Bytes:
        """Weigh both models."""

    def peak_bytes(self, *, num_tokens: int, num_new_tokens: int) -> tuple[Peak, Peak]:
        """Measure the most memory that the candidate and full precision take while they read and write."""

    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know of how the candidate was made."""


class SupportsDecoding(Protocol):
    """The fields of a gate that say how text is generated."""

    @property
    def mode(self) -> str | None:
        """The thinking mode."""

    @property
    def temperature(self) -> float:
        """The sampling temperature; 0 is greedy."""

    @property
    def top_p(self) -> float:
        """The nucleus of sampling."""

    @property
    def epochs(self) -> int:
        """How many times every item is answered."""

    @property
    def max_new_tokens(self) -> int | None:
        """The limit; absent, the benchmark's own."""
