"""Running the compiled linalg IR on the host: upstream MLIR passes, LLVM, then the whole grid, program by program.

What it cannot see: races, since programs run in turn, and whatever bishengir-compile does after this IR.
"""

import ctypes
import functools
import pathlib
import re
import subprocess
import tempfile
from typing import Any

import numpy as np
import torch

from tests.support import ascend_compiler

NUM_PROGRAMS = 3
_PASSES = [
    "convert-elementwise-to-linalg",
    "convert-linalg-to-affine-loops",
    "eliminate-empty-tensors",
    "empty-tensor-to-alloc-tensor",
    "one-shot-bufferize=allow-return-allocs-from-loops=true",
    "convert-linalg-to-loops",
    "expand-strided-metadata",
    "memref-expand",
    "lower-affine",
    "arith-expand",
    "convert-scf-to-cf",
    "convert-math-to-llvm",
    "convert-math-to-libm",
    "convert-arith-to-llvm",
    "convert-complex-to-llvm",
    "convert-index-to-llvm",
    "finalize-memref-to-llvm",
    "convert-func-to-llvm",
    "convert-cf-to-llvm",
    "lower-affine",
    "convert-arith-to-llvm",
    "reconcile-unrealized-casts",
]
_SIZES = {"i1": 1, "i8": 1, "i16": 2, "half": 2, "bfloat": 2, "i32": 4, "float": 4, "i64": 8, "double": 8}
_compiled: dict[tuple[Any, str], "Executable"] = {}


class _Unranked(ctypes.Structure):
    _fields_ = (("rank", ctypes.c_int64), ("descriptor", ctypes.c_void_p))


def _copy_memref(size: int, source: Any, destination: Any) -> None:
    """Stand in for the function of MLIR's runtime library that copies strided buffers."""
    from_, to = _view(size, source.contents), _view(size, destination.contents)
    if from_ is not None and to is not None:
        to[...] = from_


_COPY_MEMREF = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.POINTER(_Unranked), ctypes.POINTER(_Unranked))(
    _copy_memref
)


def _view(size: int, unranked: Any) -> Any:
    rank = unranked.rank
    words = (ctypes.c_int64 * (3 + 2 * rank)).from_address(unranked.descriptor)
    shape, strides = tuple(words[3 : 3 + rank]), tuple(stride * size for stride in words[3 + rank :])
    if 0 in shape:
        return None
    span = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True)) + size
    buffer = (ctypes.c_uint8 * span).from_address(words[1] + words[2] * size)
    return np.ndarray(shape, f"uint{8 * size}", buffer=buffer, strides=strides)


class Executable:
    """A kernel compiled for the host."""

    def __init__(self, linalg: str, name: str) -> None:
        import llvmlite.binding as llvm

        module = llvm.parse_assembly(to_llvm_ir(linalg))
        module.verify()
        machine = _target_machine()
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self._address = self._engine.get_function_address(name)

    def __call__(self, num_programs: int, arguments: list[Any]) -> None:
        """Run each program of the grid; two memrefs that are not used, for locks and workspace, come first."""
        passed: list[Any] = [*_memref(0, 0), *_memref(0, 0)]
        for value in arguments:
            if isinstance(value, torch.Tensor):
                passed += _memref(value.data_ptr(), value.numel())
            else:
                passed.append(ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int32(value))
        for program in range(num_programs):
            call = [*passed, *map(ctypes.c_int32, (num_programs, 1, 1, program, 0, 0))]
            ctypes.CFUNCTYPE(None, *map(type, call))(self._address)(*call)


def run(function: Any, form: Any, num_blocks: int, arguments: dict[str, Any]) -> None:
    """Take the place of ``quantguard.kernels.triton.launch.run``."""
    key = function, str(form)
    if key not in _compiled:
        _compiled[key] = Executable(ascend_compiler.lower(function, form), form.kernel)
    _compiled[key](min(num_blocks, NUM_PROGRAMS), [arguments[name] for name in form.types])


def to_llvm_ir(linalg: str) -> str:
    """Lower linalg IR to the text of LLVM IR."""
    from triton._C.libtriton import ir, llvm

    with tempfile.TemporaryDirectory() as name:
        source, lowered = pathlib.Path(name, "kernel.mlir"), pathlib.Path(name, "lowered.mlir")
        source.write_text(saturate(linalg))
        command = [str(ascend_compiler.package() / "bin/bishengir-opt"), str(source), "-o", str(lowered)]
        subprocess.run(
            [*command, *(f"--{name}" for name in _PASSES), "--allow-unregistered-dialect"],
            check=True,
            capture_output=True,
            text=True,
        )
        context = ir.context()
        ir.load_dialects(context)
        text = str(llvm.to_module(ir.parse_mlir_module(str(lowered), context), llvm.context()))
    # Constant expressions that newer LLVM no longer reads: sizes of types, and their products.
    size_of = r"mul \(i64 ptrtoint \(ptr getelementptr \((\w+), ptr null, i32 1\) to i64\), i64 (\d+)\)"
    text = re.sub(size_of, lambda m: str(_SIZES[m[1]] * int(m[2])), text)
    return re.sub(r"mul \(i64 (\d+), i64 (\d+)\)", lambda m: str(int(m[1]) * int(m[2])), text)


def saturate(linalg: str) -> str:
    """Spell out what the mark ``overflow_mode = "saturate"`` asks of a cast to int8, and drop the marks."""
    marked = set(re.findall(r'annotation\.mark (%\S+) \{overflow_mode = "saturate"\}', linalg))
    lines = []
    for line in linalg.splitlines():
        cast = re.match(r"\s*(%\S+) = arith\.fptosi (%\S+) : (tensor<\S+>) to tensor<\S*xi8>", line)
        if cast and cast[1] in marked:
            result, operand, kind = cast.groups()
            clamped = operand
            for bound, op in (("-128.0", "maximumf"), ("127.0", "minimumf")):
                fresh = f"%{op}_{result[1:]}"
                lines.append(f"{fresh}_bound = arith.constant dense<{bound}> : {kind}")
                lines.append(f"{fresh} = arith.{op} {clamped}, {fresh}_bound : {kind}")
                clamped = fresh
            lines.append(line.replace(f"fptosi {operand} ", f"fptosi {clamped} "))
        elif "annotation.mark" not in line:
            lines.append(line)
    return "\n".join(lines)


@functools.cache
def _target_machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.add_symbol("memrefCopy", ctypes.cast(_COPY_MEMREF, ctypes.c_void_p).value)
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3)


def _memref(address: int, length: int) -> list[Any]:
    pointer = ctypes.c_void_p(address)
    return [pointer, pointer, *map(ctypes.c_int64, (0, length, 1))]
