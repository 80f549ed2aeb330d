"""The sandbox for model-written code: confined by bubblewrap, a filter of system calls and resource limits."""

from quantguard.sandbox.launcher import Isolation
from quantguard.sandbox.limits import Limits
from quantguard.sandbox.probe import isolation, missing
from quantguard.sandbox.program_tests import CallTests, ProgramResult, run_calls, run_inputs

__all__ = ["CallTests", "Isolation", "Limits", "ProgramResult", "isolation", "missing", "run_calls", "run_inputs"]
