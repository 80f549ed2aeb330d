"""Running code that a model wrote: confined by bubblewrap, a filter of system calls and limits."""

from quantguard.sandbox.choosing import isolation, missing
from quantguard.sandbox.judging import Calls, Outcome, run_calls, run_inputs
from quantguard.sandbox.limits import Limits
from quantguard.sandbox.starting import Isolation

__all__ = ["Calls", "Isolation", "Limits", "Outcome", "isolation", "missing", "run_calls", "run_inputs"]
