"""``@quantguard.accuracy``: the accuracy on a benchmark has not fallen by more than is tolerated."""

import dataclasses
import functools
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from quantguard import benchmarks, stats
from quantguard.baselines import Baseline, baseline_path, read
from quantguard.baselines.survey import Place
from quantguard.benchmarks import SUBSET_SEED, choose_subset
from quantguard.errors import BaselineError, UsageError
from quantguard.gates._comparing import beside
from quantguard.gates._matching import (
    LackingItemsError,
    baseline_of,
    items_of,
    items_to_measure,
    place_of,
    require_same,
    subject_of,
)
from quantguard.gates._planning import (
    USUAL_FLIP_RATE,
    Plan,
    PlanRequest,
    known_noise,
    make_plan,
    noise_notes,
    plan_from_baseline,
    why_undecidable,
)
from quantguard.gates._proposing import FULL_PRECISION, propose
from quantguard.gates._running import change_so_far
from quantguard.gates._session import GateResult, Session
from quantguard.gates._trial import Trial, decide
from quantguard.records import GenerationConfig, RunRecord, Score, Verdict
from quantguard.records.codec import digest
from quantguard.verdict import AccuracyRule, note_on_equal_answers, note_on_gain

LIMIT: Final = "drop"
_USUAL_TOLERANCE = 0.045


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The keywords of the marker.

    ``tol`` is the tolerated absolute drop of accuracy, 0.045 for 4.5 points (the default where neither is given);
    ``rtol`` is relative to the baseline; with both the stricter holds. ``against`` is the accepted run (``baseline``)
    or full precision (``reference``); ``subset`` the number of items, which may be fewer than the baseline holds where
    another gate asks for more. ``strict`` calls REGRESSED only a drop that is proven larger than tolerated.
    ``early_stop`` ends a run as soon as its verdict is clear (``group-sequential``, ``betting``, ``off``; absent, as
    the option says). ``cluster`` names the metadata key that items which are not independent share. ``budget`` is how
    many seeds an undecided run of sampled decoding may use.
    """

    benchmark: str = "word-problems"
    tol: float | None = None
    rtol: float | None = None
    against: Literal["baseline", "reference"] = "baseline"
    subset: int | None = None
    strict: bool = False
    mode: str | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    epochs: int = 1
    max_new_tokens: int | None = None
    early_stop: stats.Method | None = None
    cluster: str | None = None
    budget: int = 1

    def __post_init__(self) -> None:
        for name, value in (("tol", self.tol), ("rtol", self.rtol)):
            if value is not None and not isinstance(value, (int, float)):
                raise UsageError(f"accuracy({name}={value!r}): the tolerance is a number such as 0.045")
            if value is not None and not 0 < value < 1:
                meant = f"; for {value:g} points write {name}={value / 100:g}" if 1 <= value < 100 else ""
                raise UsageError(f"accuracy({name}={value!r}): the tolerance is a fraction between 0 and 1{meant}")
        if self.against not in ("baseline", "reference"):
            raise UsageError(f"accuracy(against={self.against!r}): possible are 'baseline' and 'reference'")
        self._check_running()

    def _check_running(self) -> None:
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
        tol = _USUAL_TOLERANCE if self.tol is None and self.rtol is None else self.tol
        return AccuracyRule(tol=tol, rtol=self.rtol, strict=self.strict)


def check(gate: Gate, session: Session) -> GateResult:
    """Run the candidate and judge it against its stored baseline, or measure a new baseline where one was asked for.

    Raises BaselineError for a baseline that is missing, damaged, stale or foreign.
    """
    config, path = session.config(gate.benchmark, gate), _path(gate, session)
    if _wants_measuring(gate, session, path):
        return _measure_baseline(gate, session, str(path))
    baseline = baseline_of(path, session)
    items = require_same(baseline, gate, session, str(path))
    trial = _trial(gate, session, baseline, items, config)
    noise = known_noise(path, baseline) if gate.against == "baseline" else None
    run = set(trial.sample_ids)
    accuracy = statistics.fmean(
        [s.value for s in trial.baseline if s.value is not None and s.sample_id in run] or [0.0]
    )
    if session.inconclusive == "fail" and (
        problem := why_undecidable(len(trial.sample_ids), rule=gate.rule, accuracy=accuracy, noise=noise)
    ):
        raise UsageError(problem)
    verdict, record = decide(trial, session)
    record = _with_length_ratio(record, baseline.scores("reference"))
    more = (
        *_of_few_items(gate, session, items),
        *noise_notes(_flip_rate(record, trial), noise),
        *_remarks(record, baseline, trial.clusters),
    )
    record = dataclasses.replace(record, notes=(*record.notes, *more))
    against = "full precision" if gate.against == "reference" else f"the run accepted on {baseline.acceptance.on}"
    return beside(_result(gate, session, verdict, record), against, baseline.scores(gate.against), path=str(path))


def _path(gate: Gate, run: Session | PlanRequest) -> pathlib.Path:
    return baseline_path(
        run.baselines, platform=run.platform, model=run.model, recipe=run.recipe, benchmark=subject_of(gate)
    )


def baseline_name(gate: Gate) -> str:
    """Name its baseline, whatever is run."""
    return subject_of(gate)


def place(gate: Gate, session: Session) -> Place:
    """Return where the gate's baseline belongs."""
    return place_of(gate, session)


def plan(gate: Gate, request: PlanRequest) -> Plan:
    """Say what the gate can decide, by its baseline where there is one; nothing is run.

    Raises BaselineError for a baseline that is damaged.
    """
    path = _path(gate, request)
    method: stats.Method = "off" if gate.cluster else gate.early_stop or request.early_stop
    if path.is_file():
        baseline = read(path)
        noise = known_noise(path, baseline) if gate.against == "baseline" else None
        stored = baseline.sample_ids
        data = None if gate.subset is None else benchmarks.members[gate.benchmark].load()
        drawn = stored if data is None else tuple(s.id for s in choose_subset(data, gate.subset, seed=SUBSET_SEED))
        ids = items_of(stored, drawn, gate.subset, str(path))[: request.limit]
        return plan_from_baseline(baseline, ids, rule=gate.rule, against=gate.against, method=method, noise=noise)
    num_items = gate.subset or benchmarks.members[gate.benchmark].load().default_subset
    return make_plan(
        num_items=min(num_items, request.limit or num_items),
        rule=gate.rule,
        accuracy=1.0,
        method=method,
        flip_rate=USUAL_FLIP_RATE,
        flips_from="assumed: there is no baseline yet",
    )


def _of_few_items(gate: Gate, session: Session, items: Sequence[str]) -> list[str]:
    """Say where a gate without a subset is judged on fewer items than its benchmark usually gives."""
    usual = () if gate.subset is not None else session.draw(gate.benchmark, None)
    if len(items) >= len(usual):
        return []
    few = f"the baseline has {len(items)} items, and {len(usual)} are usual for {gate.benchmark}"
    return [f"{few}: an update measures them, or subset= says how many are meant"]


def _flip_rate(record: RunRecord, trial: Trial) -> float:
    old = {(s.sample_id, s.epoch): s.value for s in trial.baseline}
    return statistics.fmean(s.value != old.get((s.sample_id, s.epoch)) for s in record.scores)


def _trial(gate: Gate, session: Session, baseline: Baseline, items: tuple[str, ...], config: GenerationConfig) -> Trial:
    wanted = items[: session.limit]
    # A run that stops early may never come to an item that does not exist.
    known = {sample.id for sample in benchmarks.members[gate.benchmark].load().samples}
    if unknown := [id_ for id_ in wanted if id_ not in known]:
        raise UsageError(f"{gate.benchmark} has no item {unknown[0]!r}")
    return Trial(
        benchmark=gate.benchmark,
        sample_ids=wanted,
        config=config,
        baseline=baseline.scores(gate.against),
        rule=gate.rule,
        method="off" if gate.cluster else gate.early_stop or session.early_stop,
        clusters=_clusters(gate, baseline.sample_ids),
        num_seeds=gate.budget,
        key=digest(
            [
                gate.against,
                gate.rule,
                gate.cluster,
                # A gate of fewer items is another; a limit is no part of a gate, and leaves no lost items behind.
                len(items),
                session.rerun_key(gate.benchmark, config, baseline),
            ]
        ),
    )


def _remarks(record: RunRecord, baseline: Baseline, clusters: Mapping[str, str] | None) -> list[str]:
    """Return what is to be looked at: a run that is better than it can be, or the same as another model's."""
    notes = _beside_full_precision(record, baseline.scores("reference"), clusters)
    gain = note_on_gain(record.scores, baseline.scores("baseline"), named="the accepted run", clusters=clusters)
    return [*notes, *([gain] if gain else [])]


def _beside_full_precision(
    record: RunRecord, reference: Sequence[Score], clusters: Mapping[str, str] | None
) -> list[str]:
    gain = note_on_gain(record.scores, reference, named="full precision", clusters=clusters)
    same = note_on_equal_answers(record.scores, reference) if record.served else None
    return [note for note in (gain, same) if note]


def _clusters(gate: Gate, sample_ids: Sequence[str]) -> dict[str, str] | None:
    """Return what each item belongs to, or None where items are independent; raise UsageError for an unknown key."""
    if gate.cluster is None:
        return None
    wanted = set(sample_ids)
    found = {s.id: s.metadata.get(gate.cluster) for s in benchmarks.members[gate.benchmark].load().samples}
    if missing := [id_ for id_ in wanted if found.get(id_) is None]:
        raise UsageError(
            f"accuracy(cluster={gate.cluster!r}): {len(missing)} items of {gate.benchmark} have no such metadata"
        )
    return {id_: str(found[id_]) for id_ in wanted}


def _with_length_ratio(record: RunRecord, reference: Sequence[Score]) -> RunRecord:
    """Add the length of the answers, where there are any, beside full precision's to the same items, in tokens."""
    if record.generation_config is None:
        return record
    lengths = {(score.sample_id, score.epoch): score.num_tokens for score in reference}
    pairs = [(s.num_tokens, lengths[s.sample_id, s.epoch]) for s in record.scores if (s.sample_id, s.epoch) in lengths]
    before = sum(old for _, old in pairs)
    metrics = record.metrics | ({"length_ratio": sum(new for new, _ in pairs) / before} if before else {})
    return dataclasses.replace(record, metrics=metrics)


def _wants_measuring(gate: Gate, session: Session, path: pathlib.Path) -> bool:
    """Tell whether an update replaces this baseline.

    ``new`` means one that is missing or lacks items, ``changed`` one that cannot be used as it is, ``all`` every one;
    but what another gate of this run has measured is judged by, unless it lacks items.
    """
    known = str(path) in session.measured
    if session.update is None or (session.update == "new" and not known and not path.is_file()):
        return session.update is not None
    try:
        require_same(baseline_of(path, session), gate, session, str(path), growing=True)
    except LackingItemsError:
        return True
    except BaselineError:
        return session.update in ("changed", "all")
    return session.update == "all" and not known


def _measure_baseline(gate: Gate, session: Session, path: str) -> GateResult:
    """Run candidate and full precision; propose a baseline unless it would be worse than what it replaces."""
    config = session.config(gate.benchmark, gate)
    previous, ids = _comparable(gate, session, path)
    # Full precision first: what it answered is kept for good, should the second run be broken off.
    reference = session.run_reference(gate.benchmark, ids, config)
    for_another = gate.subset is not None and len(ids) > gate.subset
    rule, clusters = _usual(gate.rule) if for_another else gate.rule, _clusters(gate, ids)
    estimate = functools.partial(change_so_far, baseline=reference.scores, rule=rule, clusters=clusters)
    with session.watched(gate.benchmark, len(ids) * config.epochs, estimate):
        record = session.run(gate.benchmark, ids, config)
    record = _with_length_ratio(record, reference.scores)
    notes = _beside_full_precision(record, reference.scores, clusters)
    if for_another:
        notes.append(
            f"all {len(ids)} items of the baseline were measured, for the gate that asks for them, and"
            f" {_USUAL_TOLERANCE * 100:.1f} points are tolerated: {gate.subset} is this gate's own number"
        )
    record = dataclasses.replace(record, notes=(*record.notes, *notes))
    proposed = propose(
        record,
        reference.scores,
        previous,
        subject=subject_of(gate),
        rule=rule,
        reason=session.accepted_regression,
        how_to_give_one="add --quantguard-accept-regression=REASON",
        clusters=clusters,
    )
    name, verdict = proposed.against, proposed.verdict
    result = _beside_worst(_result(gate, session, verdict, record), name, reference, previous, path)
    if proposed.baseline is None:
        return dataclasses.replace(result, refused=True)
    session.measured[path] = proposed.baseline
    verdict = dataclasses.replace(verdict, reason=f"baseline measured: against {name}, {verdict.reason}")
    return dataclasses.replace(result, verdict=verdict, pending=proposed.baseline, pending_path=path)


def _usual(rule: AccuracyRule) -> AccuracyRule:
    """Return the rule for a baseline that another gate needs, whose tolerance is not known and may be stricter."""
    return dataclasses.replace(rule, tol=min(_USUAL_TOLERANCE, rule.tol or 1.0))


def _beside_worst(
    result: GateResult, name: str, reference: RunRecord, previous: Baseline | None, path: str
) -> GateResult:
    """Put beside a measurement the run that it looks worst against: full precision, or the baseline it replaces."""
    if previous is None or name == FULL_PRECISION:
        return beside(result, FULL_PRECISION, reference.scores, path=path, generations=reference.generations)
    return beside(result, name, previous.scores("baseline"), path=path)


def _comparable(gate: Gate, session: Session, path: str) -> tuple[Baseline | None, tuple[str, ...]]:
    """Return the baseline that an update has to stand beside, and the items to measure, which are never fewer.

    A baseline that cannot be read, or is of other data, is none; as many items of the new data are measured.
    """
    drawn = session.draw(gate.benchmark, gate.subset)
    try:
        previous = baseline_of(pathlib.Path(path), session)
    except BaselineError:
        return None, drawn
    now = session.fingerprint(gate.benchmark, session.config(gate.benchmark, gate))
    if previous.must_match.get("data") == now["data"]:
        return previous, items_to_measure(previous.sample_ids, drawn, gate.subset, path)
    num_samples = len(benchmarks.members[gate.benchmark].load().samples)
    return None, session.draw(gate.benchmark, min(num_samples, max(len(drawn), len(previous.sample_ids))))


def _result(gate: Gate, session: Session, verdict: Verdict, record: RunRecord) -> GateResult:
    return GateResult(
        gate="accuracy",
        model=session.model,
        recipe=session.recipe,
        subject=subject_of(gate),
        platform=session.platform,
        verdict=verdict,
        notes=record.notes,
        record=record,
    )
