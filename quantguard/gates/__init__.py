"""The kinds of gates: one file each, which becomes a marker of the same name.

A member has a frozen dataclass ``Gate`` whose fields are the marker's keywords and whose construction refuses what
cannot be meant, and ``check(gate, session)`` returning a GateResult. What it measures it asks of the session. Where it
can tell beforehand what it can decide, it has ``plan(gate, request)`` too, returning a Plan; where it has a baseline,
``place(gate, session)``, returning where that belongs, and ``baseline_name(gate)``, what it is called.
``LIMIT`` says what the margin of its verdicts is: the largest tolerated ``drop``, a ``floor`` or a ``ceiling``.
"""

from quantguard.gates._planning import Plan, PlanRequest
from quantguard.gates._session import TEST, EarlierRun, GateResult, Peak, Session, Unjudged

__all__ = ["TEST", "EarlierRun", "GateResult", "Peak", "Plan", "PlanRequest", "Session", "Unjudged"]
