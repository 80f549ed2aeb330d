"""``@quantguard.fidelity``: predictions, token by token, are close to full precision's.

It sees damage that the accuracy on a few hundred items cannot: every token of a text is a comparison.
"""

import dataclasses

from quantguard.errors import UsageError
from quantguard.gates import GateResult, Session, result_of
from quantguard.records import Verdict
from quantguard.verdict import judge_ceiling, judge_decode_gap, worst_of

LIMIT = "ceiling"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The keywords of the marker, of which one limit is needed.

    Limits are on predictions for a text that is read at once. What is written token by token, through the cache and in
    the batches of generation, is held against that, without a limit of one's own.
    """

    max_kl: float | None = None
    """The largest mean KL divergence from full precision, nats a token."""
    max_flips: float | None = None
    """The largest share of tokens that one of the two models predicts and the other does not."""
    min_top1: float | None = None
    """The smallest share of like predictions."""
    benchmark: str = "text-fidelity"
    """``text-fidelity``, or a benchmark whose items full precision answers first, to compare both over the answers."""
    subset: int | None = None
    """The number of items; absent, 32 of those that are answered, and the usual number of others."""

    def __post_init__(self) -> None:
        limits = {"max_kl": self.max_kl, "max_flips": self.max_flips, "min_top1": self.min_top1}
        if all(value is None for value in limits.values()):
            raise UsageError("fidelity(): a limit is needed: max_kl=0.05 (nats), max_flips=0.05 or min_top1=0.9")
        for name, value in limits.items():
            largest = 1 if name != "max_kl" else 100
            if value is not None and not 0 < value < largest:
                raise UsageError(f"fidelity({name}={value!r}): a number between 0 and {largest} is wanted")


def check(gate: Gate, session: Session) -> GateResult:
    """Compare the candidate with full precision on a fixed text, so exactly; every limit has to hold.

    Raises UsageError for a benchmark of another kind, or a model whose logits are not at hand.
    """
    data = session.benchmarks[gate.benchmark]
    found: dict[str, float] = session.measure("fidelity", gate="fidelity", benchmark=data, subset=gate.subset)
    record = session.record(data, found)
    notes = record.notes
    if found["kl"] == found["reading_gap"] == 0:
        if record.recipe is not None:
            return result_of("fidelity", session.candidate, gate.benchmark, _own_reference(session), record=record)
        name = session.candidate.model
        notes = (*notes, f"{name} is full precision itself: only its writing was compared, with its reading")
    verdicts = [
        judge_ceiling(value, maximum=limit, metric=metric, reason=f"{metric} {value:.4g}, at most {limit:.4g} is asked")
        for metric, value, limit in (
            ("kl", found["kl"], gate.max_kl),
            ("flips", found["flips"], gate.max_flips),
            ("top-1 disagreement", 1 - found["top1_agreement"], None if gate.min_top1 is None else 1 - gate.min_top1),
        )
        if limit is not None
    ]
    dtype = record.fingerprint.runtime.dtype
    # Only a server does not tell, and it has no logits to compare either.
    assert dtype is not None
    verdicts.append(judge_decode_gap(found, dtype=dtype))
    record = dataclasses.replace(record, notes=notes)
    return result_of("fidelity", session.candidate, gate.benchmark, worst_of(verdicts), record=record)


def _own_reference(session: Session) -> Verdict:
    """Return the verdict on a quantized model that says what full precision does, to the last bit."""
    return Verdict(
        outcome="ERROR",
        metric="kl",
        reason=(
            f"{session.candidate.model} with {session.candidate.recipe} predicts what full precision does, to the last"
            " bit: it is compared with itself, or no layer of it is quantized. Look at ignore in the recipe, and at"
            " what reference= names"
        ),
    )
