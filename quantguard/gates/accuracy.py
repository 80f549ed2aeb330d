"""``@quantguard.accuracy``: the accuracy on a benchmark has not fallen by more than is tolerated."""

import dataclasses
import datetime as dt
import getpass
import os
import pathlib
from collections.abc import Sequence
from typing import Literal

from quantguard.baselines import Acceptance, Baseline, baseline_from_runs, baseline_path, read
from quantguard.errors import BaselineError, UsageError
from quantguard.gates._comparing import beside
from quantguard.gates._session import GateResult, Session
from quantguard.records import RunRecord, Score, Verdict
from quantguard.records.judgement import OUTCOMES
from quantguard.verdict import AccuracyRule, judge_accuracy

LIMIT = "drop"
_UPDATE_CHANGED = "pytest --quantguard --quantguard-update=changed"
# What to do about a baseline that was not accepted.
_ADVICE = {
    "REGRESSED": ". To accept it anyhow, add --quantguard-accept-regression=REASON",
    "INCONCLUSIVE": ", or accept it as it is with --quantguard-accept-regression=REASON",
    "ERROR": "",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The keywords of the marker.

    ``tol`` is the tolerated absolute drop of accuracy, 0.045 for 4.5 points (the default where neither is given);
    ``rtol`` is relative to the baseline; with both the stricter holds. ``against`` is the accepted run (``baseline``)
    or full precision (``reference``); ``subset`` the number of items of a new baseline. ``strict`` calls REGRESSED
    only a drop that is proven larger than tolerated.
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

    def __post_init__(self) -> None:
        for name, value in (("tol", self.tol), ("rtol", self.rtol)):
            if value is not None and not isinstance(value, (int, float)):
                raise UsageError(f"accuracy({name}={value!r}): the tolerance is a number such as 0.045")
            if value is not None and not 0 < value < 1:
                meant = f"; for {value:g} points write {name}={value / 100:g}" if 1 <= value < 100 else ""
                raise UsageError(f"accuracy({name}={value!r}): the tolerance is a fraction between 0 and 1{meant}")
        if self.against not in ("baseline", "reference"):
            raise UsageError(f"accuracy(against={self.against!r}): possible are 'baseline' and 'reference'")

    @property
    def rule(self) -> AccuracyRule:
        """The tolerance as the judgement takes it."""
        tol = 0.045 if self.tol is None and self.rtol is None else self.tol
        return AccuracyRule(tol=tol, rtol=self.rtol, strict=self.strict)


def check(gate: Gate, session: Session) -> GateResult:
    """Run the candidate and judge it against its stored baseline, or measure a new baseline where one was asked for.

    Raises BaselineError for a baseline that is missing, damaged, stale or foreign.
    """
    config = session.config(gate.benchmark, gate)
    path = baseline_path(
        session.baselines,
        platform=session.platform,
        model=session.model,
        recipe=session.recipe,
        benchmark=_subject(gate),
    )
    if _wants_measuring(gate, session, path):
        return _measure_baseline(gate, session, str(path))
    baseline = read(path)
    _require_same(baseline, gate, session, str(path))
    wanted = baseline.sample_ids[: session.limit]
    record = session.run(gate.benchmark, wanted, config)
    verdict = judge_accuracy(record.scores, baseline.scores(gate.against), expected_ids=wanted, rule=gate.rule)
    record = _with_length_ratio(record, baseline.scores("reference"))
    against = "full precision" if gate.against == "reference" else f"the run accepted on {baseline.acceptance.on}"
    return beside(_result(gate, session, verdict, record), against, baseline.scores(gate.against), path=str(path))


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
    """Tell whether an update replaces this baseline: ``changed`` means one that cannot be used as it is."""
    if session.update != "changed":
        return session.update == "all" or (session.update == "new" and not path.is_file())
    try:
        _require_same(read(path), gate, session, str(path))
    except BaselineError:
        return True
    return False


def _measure_baseline(gate: Gate, session: Session, path: str) -> GateResult:
    """Run candidate and full precision; propose a baseline unless it would be worse than what it replaces."""
    config = session.config(gate.benchmark, gate)
    previous = _comparable(gate, session, path)
    keep = previous is not None and gate.subset in (None, len(previous.sample_ids))
    ids = previous.sample_ids if previous and keep else session.draw(gate.benchmark, gate.subset)
    # Full precision first: what it answered is kept for good, should the second run be broken off.
    reference = session.run_reference(gate.benchmark, ids, config)
    record = session.run(gate.benchmark, ids, config)
    verdicts = {"full precision": judge_accuracy(record.scores, reference.scores, expected_ids=ids, rule=gate.rule)}
    if previous is not None:
        shared = tuple(id_ for id_ in previous.sample_ids if id_ in set(ids))
        verdicts["the baseline that it replaces"] = judge_accuracy(
            record.scores, previous.scores("baseline"), expected_ids=shared, rule=gate.rule
        )
    record = _with_length_ratio(record, reference.scores)
    name = max(verdicts, key=lambda key: OUTCOMES.index(verdicts[key].outcome))
    verdict, reason = verdicts[name], session.accepted_regression
    result = _beside_worst(_result(gate, session, verdict, record), name, reference, previous, path)
    if verdict.outcome == "ERROR" or (verdict.outcome != "PASS" and reason is None):
        why = f"not accepted as a baseline: against {name}, {verdict.reason}{_ADVICE[verdict.outcome]}"
        return dataclasses.replace(result, verdict=dataclasses.replace(verdict, reason=why))
    why = "no worse than tolerated" if verdict.outcome == "PASS" else str(reason)
    proposal = baseline_from_runs(record, reference, Acceptance(by=_author(), on=_today(), why=why))
    proposal = dataclasses.replace(proposal, benchmark=_subject(gate))
    if previous is not None and _same_content(previous, proposal):
        proposal = previous
    verdict = dataclasses.replace(verdict, reason=f"baseline measured: against {name}, {verdict.reason}")
    return dataclasses.replace(result, verdict=verdict, pending=proposal, pending_path=path)


def _beside_worst(
    result: GateResult, name: str, reference: RunRecord, previous: Baseline | None, path: str
) -> GateResult:
    """Put beside a measurement the run that it looks worst against: full precision, or the baseline it replaces."""
    if previous is None or name == "full precision":
        return beside(result, "full precision", reference.scores, path=path, generations=reference.generations)
    return beside(result, name, previous.scores("baseline"), path=path)


def _require_same(baseline: Baseline, gate: Gate, session: Session, path: str) -> None:
    """Raise BaselineError where the baseline belongs to something else than what is about to run."""
    for name, stated, actual in (
        ("platform", baseline.platform, session.platform),
        ("model", baseline.model, session.model),
        ("recipe", baseline.recipe, session.recipe),
        ("benchmark", baseline.benchmark, _subject(gate)),
    ):
        if stated != actual:
            raise BaselineError(
                f"the baseline {path} is foreign: it is for {name} {stated!r}, and the gate is for {actual!r}."
                f" Put it where it belongs, or type: {_UPDATE_CHANGED}"
            )
    now = session.fingerprint(gate.benchmark, session.config(gate.benchmark, gate))
    changed = sorted(key for key in {*now, *baseline.must_match} if now.get(key) != baseline.must_match.get(key))
    if gate.subset not in (None, len(baseline.sample_ids)):
        raise BaselineError(
            f"the baseline {path} is stale: it has {len(baseline.sample_ids)} items, and the gate asks for"
            f" subset={gate.subset}. Type: {_UPDATE_CHANGED}"
        )
    if changed:
        facts = "; ".join(
            f"{key} was {_short(baseline.must_match.get(key))}, is {_short(now.get(key))}" for key in changed
        )
        raise BaselineError(f"the baseline {path} is stale: {facts}. If that is meant, type: {_UPDATE_CHANGED}")


def _comparable(gate: Gate, session: Session, path: str) -> Baseline | None:
    """Return the baseline that an update has to stand beside; one that cannot be read, or is of other data, is none."""
    try:
        previous = read(pathlib.Path(path))
    except BaselineError:
        return None
    now = session.fingerprint(gate.benchmark, session.config(gate.benchmark, gate))
    return previous if previous.must_match.get("data") == now["data"] else None


def _same_content(previous: Baseline, proposal: Baseline) -> bool:
    """Tell whether an update would change nothing but who accepted it and the recorded versions."""
    return dataclasses.replace(proposal, acceptance=previous.acceptance, recorded=previous.recorded) == previous


def _subject(gate: Gate) -> str:
    """Name what is measured: the benchmark, and every way in which the gate decodes that is not the usual one."""
    usual = {field.name: field.default for field in dataclasses.fields(Gate)}
    given = {"t": "temperature", "p": "top_p", "e": "epochs", "n": "max_new_tokens"}
    parts = [f"{letter}{getattr(gate, name):g}" for letter, name in given.items() if getattr(gate, name) != usual[name]]
    return "@".join([gate.benchmark, *([gate.mode] if gate.mode else []), *parts])


def _result(gate: Gate, session: Session, verdict: Verdict, record: RunRecord) -> GateResult:
    return GateResult(
        gate="accuracy",
        model=session.model,
        recipe=session.recipe,
        subject=_subject(gate),
        platform=session.platform,
        verdict=verdict,
        notes=record.notes,
        record=record,
    )


def _short(value: str | None) -> str:
    return "absent" if value is None else value if len(value) <= 24 else f"{value[:12]}…"


def _author() -> str:
    try:
        return os.environ.get("GIT_AUTHOR_NAME") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _today() -> str:
    """Return the UTC day, that of SOURCE_DATE_EPOCH where the environment fixes it."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    now = dt.datetime.now(dt.UTC)
    return (dt.datetime.fromtimestamp(int(fixed), dt.UTC) if fixed else now).date().isoformat()
