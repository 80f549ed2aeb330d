"""``@quantguard.reasoning``: the model does not run in loops, hit the limit, or think at more length than before."""

import dataclasses

from quantguard.baselines.matching import find
from quantguard.baselines.store import BaselineLocation, locate
from quantguard.benchmarks import Task, task_name
from quantguard.errors import UsageError
from quantguard.gates import GateResult, Session, result_of
from quantguard.records import RunRecord, Score, Verdict
from quantguard.scorers._reasoning_text import is_repeating
from quantguard.verdict import judge_length, judge_rate, worst_of

LIMIT = "ceiling"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The keywords of the marker, of which one limit is needed.

    The items, and full precision's lengths, are those of the accuracy baseline under the same decoding.
    """

    benchmark: str = "word-problems"
    """The name of the benchmark."""
    max_repetition: float | None = None
    """The largest share of items whose answer runs in a loop."""
    max_truncation: float | None = None
    """The largest share of items whose answer hits the token limit."""
    max_length_ratio: float | None = None
    """The largest ratio of the tokens of all answers to full precision's."""
    subset: int | None = None
    """The number of items; absent, those of the baseline."""
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
    task = Task.of(gate, session.benchmarks[gate.benchmark], seed=session.options.seed)
    location = locate(session.options.baselines, session.candidate, task.name, session.fingerprint(task))
    stored = find(location, task, session.measured)
    if stored.problem is not None and session.options.update is not None:
        ids = task.draw(gate.subset)
        reference = session.reference(task, ids).scores
    else:
        reference = stored.require().scores("reference")
        ids = stored.items[: session.options.limit]
    record = session.run(task, ids)
    if not record.generations:
        raise UsageError(f"{gate.benchmark} is not answered in writing, so there is no reasoning to gate")
    return result_of("reasoning", session.candidate, task.name, _judge(gate, record, reference), record=record)


def baseline_name(gate: Gate) -> str:
    """Name its baseline, whatever is run."""
    return task_name(gate)


def locate_baseline(gate: Gate, session: Session) -> BaselineLocation:
    """Return where the accuracy baseline that it takes its items from belongs."""
    task = Task.of(gate, session.benchmarks[gate.benchmark], seed=session.options.seed)
    return locate(session.options.baselines, session.candidate, task.name, session.fingerprint(task))


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
