"""``@quantguard.memory``: the quantized weights take at most a share of what the stored model takes."""

import dataclasses

from quantguard.errors import UsageError
from quantguard.gates._session import GateResult, Session
from quantguard.verdict import judge_ceiling

LIMIT = "ceiling"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The keyword of the marker: ``max_ratio``, bytes in memory over bytes of the full-precision files."""

    max_ratio: float

    def __post_init__(self) -> None:
        if not 0 < self.max_ratio <= 4:
            raise UsageError(f"memory(max_ratio={self.max_ratio!r}): a ratio such as 0.6 is wanted")


def check(gate: Gate, session: Session) -> GateResult:
    """Weigh the quantized model in memory, embeddings included, against the full-precision weight files."""
    weights = session.bytes_of_weights()
    ratio = weights.candidate / weights.stored
    reason = (
        f"{weights.candidate / 1e6:.2f} MB of weights in memory, {ratio:.3f} of the {weights.stored / 1e6:.2f} MB that"
        f" full precision is stored in; at most {gate.max_ratio:.3f} is asked"
    )
    return GateResult(
        gate="memory",
        model=session.model,
        recipe=session.recipe,
        subject="weights",
        platform=session.platform,
        verdict=judge_ceiling(ratio, maximum=gate.max_ratio, metric="weight bytes", reason=reason),
        notes=session.notes(),
    )
