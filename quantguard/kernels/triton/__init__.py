"""Our own kernels for Atlas A2, written for Triton-Ascend; on a CPU they run in Triton's interpreter.

Only this package imports Triton, and importing it where Triton-Ascend is absent raises KernelError. Kernel names:
``b_`` block, ``i_`` index, ``o_`` offsets, ``m_`` mask, ``p_`` pointer, and capitals for what is fixed when
it is compiled.
"""

from quantguard.kernels.triton.installation import require

require()
