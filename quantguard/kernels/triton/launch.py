"""Running a form of a kernel: on an NPU compiled, on a CPU in the interpreter, nowhere else."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import triton
from triton.runtime.interpreter import InterpretedFunction

from quantguard.errors import KernelError
from quantguard.kernels.triton import interpreter
from quantguard.kernels.triton.forms import Form
from quantguard.numerics.source_hash import sources_sha256

# A persistent kernel walks its blocks with as many programs as there are cores; here enough that each walks several.
INTERPRETED_PROGRAMS = 3
# Offsets are int32.
LARGEST_TENSOR = 2**31
_TYPES = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int8: "*i8",
    torch.int32: "*i32",
}


def kernel(function: Callable[..., None]) -> Any:
    """Make a Triton kernel that is not compiled anew for single values of its arguments.

    What Triton keeps on disk is named by its source and those of the Triton functions that it calls. The hash of all
    that its module is made from goes with it, since constants of other modules are compiled in too.
    """
    arguments = [name for name in inspect.signature(function).parameters if not name.isupper()]
    made = triton.jit(function, do_not_specialize=arguments)
    if isinstance(made, triton.JITFunction):
        made.src += f"\n# Made from {sources_sha256(function.__module__)}\n"
    return made


def float_type(dtype: torch.dtype) -> str:
    """Return Triton's name of a torch float type; raises KernelError for one that no kernel takes."""
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise KernelError(f"the 'triton' backend takes float32, bfloat16 and float16, not {dtype}")
    return _TYPES[dtype].removeprefix("*")


def launch(function: Any, form: Form, *, num_blocks: int, **arguments: Any) -> None:
    """Run ``function`` in this form over ``num_blocks`` blocks.

    Raises KernelError where it cannot run, and where the tensors are not those that the form was compiled for.
    """
    _check_types(form, arguments)
    if num_blocks:
        run(function, form, num_blocks, arguments)


def run(function: Any, form: Form, num_blocks: int, arguments: dict[str, Any]) -> None:
    """Run checked arguments; raises KernelError where that is not possible."""
    device = _device(arguments)
    if isinstance(function, InterpretedFunction):
        _interpret(function, form, device, min(num_blocks, INTERPRETED_PROGRAMS), arguments)
    elif device == "npu":
        function[(min(num_blocks, _num_cores(form)),)](**arguments, **form.constants)
    else:
        raise KernelError(
            f"the 'triton' backend runs compiled on an Ascend NPU, and this model is on {device!r}. To run its kernels"
            " in Triton's interpreter on a CPU, slowly, set TRITON_INTERPRET=1 before Python starts"
        )


def _interpret(function: Any, form: Form, device: str, num_programs: int, arguments: dict[str, Any]) -> None:
    if device != "cpu":
        raise KernelError(
            f"TRITON_INTERPRET=1 is set, so kernels run on the CPU, and this model is on {device!r}. Unset it to run"
            " them on the device"
        )
    interpreter.mend()
    with np.errstate(all="ignore"):
        function[(num_programs,)](**arguments, **form.constants)


def _num_cores(form: Form) -> int:
    properties = triton.runtime.driver.active.utils.get_device_properties("npu")
    return int(properties["num_vectorcore" if form.cores == "vector" else "num_aicore"])


def _device(arguments: dict[str, Any]) -> str:
    devices = {value.device.type for value in arguments.values() if isinstance(value, torch.Tensor)}
    if len(devices) != 1:
        raise KernelError(f"the tensors of a kernel are on one device, not on {', '.join(sorted(devices))}")
    return devices.pop()


def _check_types(form: Form, arguments: dict[str, Any]) -> None:
    for name, value in arguments.items():
        if isinstance(value, torch.Tensor) and (
            _TYPES.get(value.dtype) != form.types[name] or not value.is_contiguous()
        ):
            raise KernelError(
                f"{form} takes {name} as contiguous {form.types[name]}, not {value.dtype} with strides {value.stride()}"
            )
        if isinstance(value, torch.Tensor) and value.numel() >= LARGEST_TENSOR:
            raise KernelError(
                f"{form} counts in int32, and {name} has {value.numel()} numbers; give it fewer tokens at a time"
            )
    if set(arguments) != set(form.types):
        raise KernelError(f"{form} takes {', '.join(form.types)}, not {', '.join(arguments)}")
