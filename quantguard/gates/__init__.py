"""The kinds of gates: one file each, which becomes a marker of the same name.

A member has a frozen dataclass ``Gate`` whose fields are the marker's keywords and whose construction refuses what
cannot be meant, and ``check(gate, session)`` returning a GateResult. What it measures it asks of the session.
"""

from quantguard.gates._session import EarlierRun, GateResult, Session

__all__ = ["EarlierRun", "GateResult", "Session"]
