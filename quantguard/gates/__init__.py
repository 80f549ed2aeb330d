"""The kinds of gates: one file each, which becomes a marker of the same name.

A member has a frozen dataclass ``Gate`` whose fields are the marker's keywords and whose construction refuses what
cannot be meant, and ``check(gate, session)`` returning a GateResult. What it measures it asks of the session.
``LIMIT`` says what the margin of its verdicts is: the largest tolerated ``drop``, a ``floor`` or a ``ceiling``.
"""

from quantguard.gates._session import GateResult, Session

__all__ = ["GateResult", "Session"]
