"""``@quantguard.memory``: the quantized model takes at most a share of full precision's memory, at rest and at work."""

import dataclasses
from typing import TYPE_CHECKING, Final

from quantguard import devices
from quantguard.errors import UsageError
from quantguard.gates import GateResult, Session, result_of
from quantguard.records import Verdict
from quantguard.verdict import judge_ceiling, worst_of

if TYPE_CHECKING:
    from quantguard.measures.peaks import Peak
    from quantguard.measures.weights import Bytes

LIMIT: Final = "ceiling"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The keywords of the marker, of which one limit at least is given."""

    max_ratio: float | None = None
    """The largest ratio of the bytes of weights in memory to those of the full-precision files."""
    max_peak_ratio: float | None = None
    """The largest ratio of the most bytes while a model reads and writes to full precision's most."""
    num_tokens: int = 256
    """The tokens of the prompt that is read for the peak."""
    num_new_tokens: int = 32
    """The tokens that are written for the peak."""

    def __post_init__(self) -> None:
        limits = {"max_ratio": self.max_ratio, "max_peak_ratio": self.max_peak_ratio}
        if set(limits.values()) == {None}:
            raise UsageError(
                "memory(): say max_ratio=0.6, of the bytes that full precision's weights are stored in, or"
                " max_peak_ratio=0.8, of full precision's peak while it reads and writes, or both"
            )
        for name, limit in limits.items():
            if limit is not None and not 0 < limit <= 4:
                raise UsageError(f"memory({name}={limit!r}): a ratio such as 0.6 is wanted")
        for name in ("num_tokens", "num_new_tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"memory({name}={getattr(self, name)}): at least one token is wanted")


def check(gate: Gate, session: Session) -> GateResult:
    """Weigh the quantized model in memory, embeddings included, and measure its peak where a limit is set for that.

    Raises UsageError for the peak of an emulated device, whose memory is not the device's.
    """
    verdicts, notes, subjects = [], [*session.candidate.notes], []
    if gate.max_ratio is not None:
        subjects.append("weights")
        verdicts.append(_of_weights(session, gate.max_ratio))
    if gate.max_peak_ratio is not None:
        if devices.is_emulated(session.candidate.platform):
            raise UsageError(
                f"memory(max_peak_ratio=…) on {session.candidate.platform} would measure the emulation; run it on an"
                " NPU, or on the CPU. max_ratio can be judged here"
            )
        candidate, reference = session.measure(
            "peaks", gate="memory", num_tokens=gate.num_tokens, num_new_tokens=gate.num_new_tokens
        )
        subjects.append("peak")
        verdicts.append(_of_peaks(gate, gate.max_peak_ratio, candidate, reference))
        notes.append(f"the peak is weights and {candidate.counted}")
    return result_of("memory", session.candidate, " and ".join(subjects), worst_of(verdicts), notes=notes)


def _of_weights(session: Session, maximum: float) -> Verdict:
    weights: Bytes = session.measure("weights", gate="memory")
    ratio = weights.candidate / weights.stored
    reason = (
        f"{weights.candidate / 1e6:.2f} MB of weights in memory, {ratio:.3f} of the {weights.stored / 1e6:.2f} MB that"
        f" full precision is stored in; at most {maximum:.3f} is asked"
    )
    return judge_ceiling(ratio, maximum=maximum, metric="weight bytes", reason=reason)


def _of_peaks(gate: Gate, maximum: float, candidate: "Peak", reference: "Peak") -> Verdict:
    ratio = candidate.bytes / reference.bytes
    reason = (
        f"a peak of {candidate.bytes / 1e6:.2f} MB ({_stages(candidate)} while {gate.num_tokens} tokens are read and"
        f" {gate.num_new_tokens} written), {ratio:.3f} of full precision's {reference.bytes / 1e6:.2f} MB"
        f" ({_stages(reference)}); at most {maximum:.3f} is asked"
    )
    return judge_ceiling(ratio, maximum=maximum, metric="peak bytes", reason=reason)


def _stages(peak: "Peak") -> str:
    return f"{peak.prefill / 1e6:.2f} and {peak.decode / 1e6:.2f} MB"
