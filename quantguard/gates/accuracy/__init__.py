"""The accuracy gate: its keywords and its check; planning, updating and sequential testing are modules of their own."""

from quantguard.gates.accuracy.gate import LIMIT, Gate, baseline_name, check, locate_baseline, plan

__all__ = ["LIMIT", "Gate", "baseline_name", "check", "locate_baseline", "plan"]
