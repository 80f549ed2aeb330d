"""``@quantguard.accuracy``: the accuracy on a benchmark has not fallen by more than is tolerated."""

import dataclasses
import pathlib
from typing import Literal

from quantguard import stats
from quantguard.baselines import baseline_path, read
from quantguard.baselines.matching import find, items_of
from quantguard.baselines.store import BaselineLocation, locate
from quantguard.benchmarks import SUBSET_SEED, Benchmarks, Task, choose_subset, task_name
from quantguard.errors import UsageError
from quantguard.gates import GateResult, Session, compared_with, result_of
from quantguard.gates.accuracy import updating
from quantguard.gates.accuracy.planning import (
    USUAL_FLIP_RATE,
    Plan,
    known_noise,
    make_plan,
    noise_notes,
    plan_from_baseline,
    require_decidable,
)
from quantguard.gates.accuracy.sequential import SequentialTest, decide
from quantguard.records.candidate import Candidate
from quantguard.run_options import RunOptions
from quantguard.verdict import USUAL_TOLERANCE, AccuracyRule, note_on_gain, notes_on_full_precision
from quantguard.verdict.metrics import with_length_ratio

LIMIT = "drop"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The keywords of the marker."""

    benchmark: str = "word-problems"
    """The name of the benchmark."""
    tol: float | None = None
    """The tolerated absolute drop of accuracy: 0.045 for 4.5 points, the default where ``rtol`` is not given either."""
    rtol: float | None = None
    """The tolerated drop as a share of the baseline's accuracy; with ``tol`` too, the stricter holds."""
    against: Literal["baseline", "reference"] = "baseline"
    """What is compared with: the accepted run, or full precision."""
    subset: int | None = None
    """The number of items, which may be fewer than the baseline holds where another gate asks for more."""
    strict: bool = False
    """Whether only a drop that is proven larger than tolerated is REGRESSED."""
    mode: str | None = None
    """The thinking mode; absent, the chat template's own."""
    temperature: float = 0.0
    """The sampling temperature; 0 is greedy."""
    top_p: float = 1.0
    """The nucleus of sampling."""
    epochs: int = 1
    """How many times every item is answered."""
    max_new_tokens: int | None = None
    """The limit of an answer; absent, the benchmark's own."""
    early_stop: stats.Method | None = None
    """How a run ends as soon as its verdict is clear; absent, as the option says."""
    cluster: str | None = None
    """The metadata key that items which are not independent share."""
    budget: int = 1
    """How many seeds an undecided run of sampled decoding may use."""

    def __post_init__(self) -> None:
        for name, value in (("tol", self.tol), ("rtol", self.rtol)):
            if value is not None and not isinstance(value, (int, float)):
                raise UsageError(f"accuracy({name}={value!r}): the tolerance is a number such as 0.045")
            if value is not None and not 0 < value < 1:
                meant = f"; for {value:g} points write {name}={value / 100:g}" if 1 <= value < 100 else ""
                raise UsageError(f"accuracy({name}={value!r}): the tolerance is a fraction between 0 and 1{meant}")
        if self.against not in ("baseline", "reference"):
            raise UsageError(f"accuracy(against={self.against!r}): possible are 'baseline' and 'reference'")
        self._check_run_settings()

    def _check_run_settings(self) -> None:
        if self.early_stop not in (None, *stats.METHODS):
            raise UsageError(f"accuracy(early_stop={self.early_stop!r}): possible are {', '.join(stats.METHODS)}")
        if self.cluster is not None and self.early_stop not in (None, "off"):
            raise UsageError("accuracy(cluster=…, early_stop=…): clusters are judged as a whole; leave early_stop out")
        if self.budget < 1 or (self.budget > 1 and self.temperature == 0):
            raise UsageError(
                f"accuracy(budget={self.budget}): seeds are counted from 1, and greedy decoding has no other"
            )

    @property
    def rule(self) -> AccuracyRule:
        """The tolerance as the judgement takes it."""
        tol = USUAL_TOLERANCE if self.tol is None and self.rtol is None else self.tol
        return AccuracyRule(tol=tol, rtol=self.rtol, strict=self.strict)

    def method(self, options: RunOptions) -> stats.Method:
        """How a run ends early: clusters are judged as a whole."""
        return "off" if self.cluster else self.early_stop or options.early_stop


def check(gate: Gate, session: Session) -> GateResult:
    """Run the candidate and judge it against its stored baseline, or measure a new baseline where one was asked for.

    Raises BaselineError for a baseline that is missing, damaged, stale or foreign.
    """
    options = session.options
    task = Task.of(gate, session.benchmarks[gate.benchmark], seed=options.seed)
    location = locate(options.baselines, session.candidate, task.name, session.fingerprint(task))
    stored = find(location, task, session.measured, growing=options.update is not None)
    if stored.is_due(options.update):
        previous, ids = stored.to_replace(task)
        return updating.measure(
            task,
            ids,
            session,
            previous=previous,
            path=location.path,
            rule=gate.rule,
            clusters=task.clusters(gate.cluster, ids),
        )
    baseline = stored.require()
    task.require_items(stored.items[: options.limit])
    test = SequentialTest(
        task=task,
        sample_ids=stored.items[: options.limit],
        baseline=baseline.scores(gate.against),
        rule=gate.rule,
        method=gate.method(options),
        clusters=task.clusters(gate.cluster, baseline.sample_ids),
        num_seeds=gate.budget,
    )
    noise = known_noise(pathlib.Path(location.path), baseline) if gate.against == "baseline" else None
    if options.inconclusive == "fail":
        require_decidable(len(test.sample_ids), rule=gate.rule, accuracy=test.baseline_accuracy, noise=noise)
    # A gate of fewer items is another; a limit is no part of a gate, and leaves no lost items behind.
    facts = gate.against, gate.rule, gate.cluster, len(stored.items), location.fingerprint, baseline
    verdict, record = decide(test, session, session.earlier_runs(*facts))
    record = with_length_ratio(record, baseline.scores("reference"))
    gain = note_on_gain(record.scores, baseline.scores("baseline"), named="the accepted run", clusters=test.clusters)
    notes = (
        *stored.notes,
        *noise_notes(test.flip_rate(record.scores), noise),
        *notes_on_full_precision(record, baseline.scores("reference"), test.clusters),
        *([gain] if gain else []),
    )
    record = dataclasses.replace(record, notes=(*record.notes, *notes))
    result = result_of("accuracy", session.candidate, task.name, verdict, record=record)
    against = "full precision" if gate.against == "reference" else f"the run accepted on {baseline.acceptance.on}"
    return compared_with(result, against, baseline.scores(gate.against), path=location.path)


def baseline_name(gate: Gate) -> str:
    """Name its baseline, whatever is run."""
    return task_name(gate)


def locate_baseline(gate: Gate, session: Session) -> BaselineLocation:
    """Return where the gate's baseline belongs."""
    task = Task.of(gate, session.benchmarks[gate.benchmark], seed=session.options.seed)
    return locate(session.options.baselines, session.candidate, task.name, session.fingerprint(task))


def plan(gate: Gate, candidate: Candidate, options: RunOptions, benchmarks: Benchmarks) -> Plan:
    """Say what the gate can decide, by its baseline where there is one; nothing is run.

    Raises BaselineError for a baseline that is damaged.
    """
    path = baseline_path(
        options.baselines,
        platform=candidate.platform,
        model=candidate.model,
        recipe=candidate.recipe,
        benchmark=task_name(gate),
    )
    method = gate.method(options)
    if path.is_file():
        baseline = read(path)
        noise = known_noise(path, baseline) if gate.against == "baseline" else None
        drawn = baseline.sample_ids
        if gate.subset is not None:
            samples = choose_subset(benchmarks[gate.benchmark], gate.subset, seed=SUBSET_SEED)
            drawn = tuple(sample.id for sample in samples)
        ids = items_of(baseline.sample_ids, drawn, gate.subset, str(path))[: options.limit]
        return plan_from_baseline(baseline, ids, rule=gate.rule, against=gate.against, method=method, noise=noise)
    num_items = gate.subset or benchmarks[gate.benchmark].default_subset
    return make_plan(
        num_items=min(num_items, options.limit or num_items),
        rule=gate.rule,
        accuracy=1.0,
        method=method,
        flip_rate=USUAL_FLIP_RATE,
        flips_from="assumed: there is no baseline yet",
    )
