"""The exceptions that quantguard raises.

    QuantguardError
    ├── UsageError            an argument, option or marker that cannot be meant
    │   └── UnknownNameError  a name that no registered member, recipe or model has
    ├── MemberError           a member of a family that lacks what the family's Protocol asks for
    ├── RecipeError           a recipe that contradicts itself or the model it is applied to
    ├── ModelError            a model that cannot be loaded, or that quantguard does not support
    ├── DataError             benchmark or calibration data that is absent, damaged or not what was pinned
    ├── KernelError           an operation that the chosen backend or device cannot run
    ├── EngineError           a server or engine that did not answer, or not what it was asked
    ├── LeaseError            an NPU, or the timing of this machine, that another process holds too long
    ├── SandboxError          model-written code that cannot be run safely here
    ├── RecordError           a record (JSON) that is damaged or of another schema
    │   ├── ConflictError     a file with the marks of a merge that was not finished
    │   └── BaselineError     a baseline that is missing, damaged, edited, stale or foreign
    └── MeasurementError      a run that produced too little, or nothing, to judge

Every message says what was asked, what was found, what is possible and what to type next.
"""

import difflib
from collections.abc import Iterable


class QuantguardError(Exception):
    """The root of everything that quantguard raises on purpose."""


class UsageError(QuantguardError):
    """Report an argument, option or marker value that cannot be meant."""


class UnknownNameError(UsageError):
    """Report a name that nobody has, with the names that come close."""

    def __init__(self, kind: str, name: str, possible: Iterable[str], *, advice: str = "") -> None:
        names = sorted(possible)
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
        listing = ", ".join(names) if names else "none"
        super().__init__(f"unknown {kind} {name!r}.{hint} Available: {listing}.{' ' + advice if advice else ''}")


class MemberError(QuantguardError):
    """Report a member of a family that lacks what the family's Protocol asks for."""


class RecipeError(QuantguardError):
    """Report a recipe that contradicts itself or the model it is applied to."""


class ModelError(QuantguardError):
    """Report a model that cannot be loaded or is not supported."""


class DataError(QuantguardError):
    """Report benchmark or calibration data that is absent, damaged or not what was pinned."""


class KernelError(QuantguardError):
    """Report an operation that the chosen backend or device cannot run."""


class EngineError(QuantguardError):
    """Report a server or engine that did not answer, or not what it was asked."""


class LeaseError(QuantguardError):
    """Report what another process holds for longer than is waited for."""


class SandboxError(QuantguardError):
    """Report that model-written code cannot be run safely on this machine."""


class RecordError(QuantguardError):
    """Report a record that is damaged or of another schema."""


class ConflictError(RecordError):
    """Report the marks that git leaves where two branches changed the same lines."""


class BaselineError(RecordError):
    """Report a baseline that is missing, damaged, edited, stale or foreign."""


class MeasurementError(QuantguardError):
    """Report a run that produced too little, or nothing, to judge."""
