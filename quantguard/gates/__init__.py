"""The kinds of gates: each becomes a marker of the same name."""

from typing import Any, Literal, Protocol

from quantguard.baselines.survey import Place
from quantguard.gates._planning import Plan, PlanRequest
from quantguard.gates._session import TEST, EarlierRun, GateResult, Peak, Session, Unjudged
from quantguard.registry import Registry

__all__ = [
    "TEST",
    "EarlierRun",
    "Gate",
    "GateResult",
    "Peak",
    "Plan",
    "PlanRequest",
    "Plannable",
    "Session",
    "Stored",
    "Unjudged",
    "members",
]


class Gate(Protocol):
    """What a gate has. A ``gate`` is an object of its own class ``Gate``, so no Protocol can name its type."""

    @property
    def Gate(self) -> type[Any]:
        """A frozen dataclass: its fields are the marker's keywords, and it refuses what cannot be meant."""

    @property
    def LIMIT(self) -> Literal["drop", "floor", "ceiling"]:
        """What the margin of its verdicts is: the largest tolerated drop, a floor or a ceiling."""

    def check(self, gate: Any, session: Session) -> GateResult:
        """Measure and judge; everything that is measured is asked of the session."""


class Plannable(Protocol):
    """A gate that can tell beforehand what it can decide."""

    def plan(self, gate: Any, request: PlanRequest) -> Plan:
        """Say what it can decide; nothing is run."""


class Stored(Protocol):
    """A gate with a baseline."""

    def baseline_name(self, gate: Any) -> str | None:
        """Name its baseline, whatever is run; None where these settings need none."""

    def place(self, gate: Any, session: Session) -> Place | None:
        """Return where its baseline belongs; None where these settings need none."""


members = Registry("gates", Gate, kind="gate", abilities=[Plannable, Stored])
