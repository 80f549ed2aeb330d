"""Our own kernels for Atlas A2, written for Triton-Ascend; on a CPU they run in Triton's interpreter.

Only this package imports Triton, and importing it where Triton-Ascend is absent raises KernelError. Kernel names:
``b_`` block, ``i_`` index, ``o_`` offsets, ``m_`` mask, ``p_`` pointer, and capitals for what is fixed when
it is compiled.
"""

from quantguard.kernels.triton.installation import require
from quantguard.records import MissingRequirement

__all__ = ["missing", "trial_device"]

require()


def missing() -> list[MissingRequirement]:
    """Name nothing: where Triton-Ascend is absent this package cannot be imported."""
    return []


def trial_device() -> str:
    """Return the CPU, on which Triton's interpreter runs."""
    return "cpu"
