"""An Atlas A2 ("910B") emulated on the CPU: the vendor's operations, under their schemas, with documented arithmetic.

It shows what the integers, the shortened scales and the float16 results do to a model. It is not the device: rounding
inside the device's units, its validation and its speed are another matter, and nothing here was compared with one.
"""

import functools

import torch

from quantguard.kernels.ascend.emulation import activations, attention, matmul
from quantguard.kernels.ascend.schemas import SCHEMAS

KERNELS = {**activations.KERNELS, **attention.KERNELS, **matmul.KERNELS}


@functools.cache
def enable() -> torch.library.Library:
    """Register the emulated operations for CPU tensors, once; schemas that torch_npu has registered are kept."""
    library = torch.library.Library("npu", "FRAGMENT")
    for op, schema in SCHEMAS.items():
        if not hasattr(torch.ops.npu, op):
            library.define(schema)
        library.impl(op, KERNELS[op], "CPU")
    return library
