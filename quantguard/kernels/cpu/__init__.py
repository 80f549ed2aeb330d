"""True INT8 on a CPU: integer dot products from oneDNN, the elementwise ends compiled by Numba."""

from quantguard.records import MissingRequirement

__all__ = ["missing", "trial_device"]


def missing() -> list[MissingRequirement]:
    """Name nothing: every CPU runs it, be it slowly."""
    return []


def trial_device() -> str:
    """Return the CPU."""
    return "cpu"
