"""``@quantguard.reasoning``: the model does not run in loops, hit the limit, or think at more length than before."""

import dataclasses
from typing import Final

from quantguard.baselines import baseline_path
from quantguard.baselines.survey import Place
from quantguard.errors import BaselineError, UsageError
from quantguard.gates._matching import baseline_of, place_of, require_same, subject_of
from quantguard.gates._session import GateResult, Session
from quantguard.records import RunRecord, Score, Verdict
from quantguard.scorers._reasoning_text import is_repeating
from quantguard.verdict import judge_length, judge_rate, worst_of

LIMIT: Final = "ceiling"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The keywords of the marker, of which one limit is needed.

    ``max_repetition`` is the share of items whose answer runs in a loop, ``max_truncation`` of those that hit the token
    limit, ``max_length_ratio`` the tokens of all answers over full precision's. The items, and full precision's
    lengths, are those of the accuracy baseline of ``benchmark`` under the same decoding.
    """

    benchmark: str = "word-problems"
    max_repetition: float | None = None
    max_truncation: float | None = None
    max_length_ratio: float | None = None
    subset: int | None = None
    mode: str | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    epochs: int = 1
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        limits = {
            "max_repetition": self.max_repetition,
            "max_truncation": self.max_truncation,
            "max_length_ratio": self.max_length_ratio,
        }
        if all(value is None for value in limits.values()):
            raise UsageError(f"reasoning(): a limit is needed, one of {', '.join(limits)}")
        for name, value in limits.items():
            largest = 100 if name == "max_length_ratio" else 1
            if value is not None and not 0 < value < largest:
                raise UsageError(f"reasoning({name}={value!r}): a number between 0 and {largest} is wanted")


def check(gate: Gate, session: Session) -> GateResult:
    """Run the candidate on the baseline's items and hold every limit; while baselines are measured, on a new one's.

    Raises BaselineError where the accuracy baseline is missing, damaged, stale or foreign, and UsageError for a
    benchmark whose items are not answered in writing.
    """
    config = session.config(gate.benchmark, gate)
    path = baseline_path(
        session.baselines,
        platform=session.platform,
        model=session.model,
        recipe=session.recipe,
        benchmark=subject_of(gate),
    )
    try:
        baseline = baseline_of(path, session)
        ids = require_same(baseline, gate, session, str(path))[: session.limit]
        reference = baseline.scores("reference")
    except BaselineError:
        if session.update is None:
            raise
        ids = session.draw(gate.benchmark, gate.subset)
        reference = session.run_reference(gate.benchmark, ids, config).scores
    record = session.run(gate.benchmark, ids, config)
    if not record.generations:
        raise UsageError(f"{gate.benchmark} is not answered in writing, so there is no reasoning to gate")
    return GateResult(
        gate="reasoning",
        model=session.model,
        recipe=session.recipe,
        subject=subject_of(gate),
        platform=session.platform,
        verdict=_judge(gate, record, reference),
        notes=record.notes,
        record=record,
    )


def baseline_name(gate: Gate) -> str:
    """Name its baseline, whatever is run."""
    return subject_of(gate)


def place(gate: Gate, session: Session) -> Place:
    """Return where the accuracy baseline that it takes its items from belongs."""
    return place_of(gate, session)


def _judge(gate: Gate, record: RunRecord, reference: tuple[Score, ...]) -> Verdict:
    """Return the worst of the verdicts on the limits, with the reasons of all."""
    verdicts = []
    if gate.max_repetition is not None:
        loops = {(g.sample_id, g.epoch): is_repeating(g.text) for g in record.generations}
        verdicts.append(judge_rate(loops, maximum=gate.max_repetition, metric="repetition"))
    if gate.max_truncation is not None:
        cut = {(s.sample_id, s.epoch): s.finish_reason == "length" for s in record.scores}
        verdicts.append(judge_rate(cut, maximum=gate.max_truncation, metric="truncation"))
    if gate.max_length_ratio is not None:
        verdicts.append(judge_length(record.scores, reference, maximum=gate.max_length_ratio))
    return worst_of(verdicts)
