"""Triton to HIVM IR for an Ascend 910B, on any x86-64 Linux: Triton-Ascend's front end, then bishengir-compile.

bishengir-compile runs its whole pipeline and then fails to find ``hivmc``, the part that only CANN has: that failure,
with the planned IR written before it, is success here.
"""

import collections
import dataclasses
import functools
import importlib.util
import pathlib
import re
import subprocess
import tempfile
from typing import Any

TARGETS = ("Ascend910B2", "Ascend910B4")
# Bytes of each memory that the compiler plans; it reports an overflow itself.
CAPACITY = {"ub": 192 * 1024, "cbuf": 512 * 1024, "cc": 128 * 1024}
_BYTES = {"i1": 0.125, "i8": 1, "i16": 2, "f16": 2, "bf16": 2, "i32": 4, "f32": 4, "i64": 8}
_BITCODES = ("meta_op.aic", "meta_op.aiv", "meta_op.mix.aic", "meta_op.mix.aiv")
_FLAGS = (
    "--enable-auto-multi-buffer=True",
    "--enable-auto-bind-sub-block=True",
    "--enable-hfusion-compile=true",
    "--enable-hivm-compile=true",
    "--enable-triton-kernel-compile=true",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What came of a compilation: the planned IR, absent where it failed, and all that the compiler printed."""

    ir: str | None
    log: str

    def complaints(self) -> list[str]:
        """List what is wrong with it, in the names of the checks."""
        if self.ir is None:
            needed = re.findall(r"(\w+) overflow, requires (\d+) bits while (\d+) bits", self.log)
            overflows = [f"{memory} overflow: {int(a) // 8} bytes of {int(b) // 8}" for memory, a, b in needed]
            return overflows or [f"does not compile: {self.log[-2000:]}"]
        checks = {
            "compiled again without multi-buffering": "[NOTE]" in self.log,
            "a scalar loop over the unified buffer": bool(self.scalar_accesses()),
            f"no library function {', '.join(self.missing_functions())}": bool(self.missing_functions()),
        }
        return [complaint for complaint, holds in checks.items() if holds]

    def peaks(self) -> dict[str, int]:
        """Return the bytes up to which each memory is planned."""
        assert self.ir is not None
        offsets = dict(re.findall(r"(%\S+) = arith.constant (\d+) : i64", self.ir))
        peaks: dict[str, int] = collections.defaultdict(int)
        casts = re.findall(
            r"pointer_cast\(([^)]*)\).*?: memref<((?:\d+x)*)([a-z]\w*)(?:, [^#]*)?, #\S*?<(\w+)>>", self.ir
        )
        for places, shape, element, memory in casts:
            size = _BYTES[element]
            for length in filter(None, shape.split("x")):
                size *= int(length)
            for place in places.split(","):
                peaks[memory] = max(peaks[memory], int(int(offsets[place.strip()]) + size))
        return dict(peaks)

    def scalar_accesses(self) -> list[str]:
        """List single-number accesses to buffers of more than one number: a loop where a vector instruction belongs."""
        assert self.ir is not None
        lines = re.findall(r"memref\.(?:load|store) .*: memref<((?:\d+x)+)[a-z]\w*,.*address_space<ub>>", self.ir)
        return [shape for shape in lines if set(shape.rstrip("x").split("x")) != {"1"}]

    def missing_functions(self) -> list[str]:
        """List the functions that the IR calls and that no device library in the compiler's package has."""
        assert self.ir is not None
        needed = set(re.findall(r"func\.func private @(\w+)", self.ir))
        return sorted(name for name in needed if f"_mlir_ciface_{name}" not in library_functions())


def package() -> pathlib.Path:
    """Return the folder of the compiler's package, ascendnpu-ir."""
    spec = importlib.util.find_spec("ascendnpuir")
    assert spec is not None
    assert spec.origin is not None
    return pathlib.Path(spec.origin).parent


@functools.cache
def library_functions() -> frozenset[str]:
    """Name every function that the device libraries of a 910B define."""
    import llvmlite.binding

    names: set[str] = set()
    for name in _BITCODES:
        module = llvmlite.binding.parse_bitcode((package() / f"lib/{name}.c220.bc").read_bytes())
        names |= {function.name for function in module.functions if not function.is_declaration}
    return frozenset(names)


def lower(function: Any, form: Any) -> str:
    """Return the linalg IR that Triton-Ascend makes of a kernel in this form."""
    from triton._C.libtriton import ir
    from triton.backends.ascend import compiler
    from triton.backends.compiler import GPUTarget
    from triton.compiler.compiler import ASTSource, make_backend

    target = GPUTarget("npu", TARGETS[0], 0)
    backend = make_backend(target)
    source = ASTSource(fn=function, signature=dict(form.types), constants=dict(form.constants))
    options = backend.parse_options({})
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    module = source.make_ir(options, backend.get_codegen_implementation(), backend.get_module_map(), context)
    metadata = {"hash": "none", "target": target, **options.__dict__}
    module = compiler.make_ttir(module, metadata, options)
    linalg, _ = compiler._parse_linalg_metadata(
        compiler.ttir_to_linalg(module, metadata, options, named_ops=True), metadata
    )
    return str(linalg)


def compile_ir(linalg: str, target: str) -> Compiled:
    """Compile linalg IR up to the planned HIVM IR."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "kernel.mlir").write_text(linalg)
        command = [str(package() / "bin/bishengir-compile"), str(folder / "kernel.mlir"), f"--target={target}", *_FLAGS]
        command += [f"--save-temps={folder / 'steps'}", "-o", str(folder / "kernel")]
        done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, check=False)
        planned = folder / "steps/module.hivm.opt.mlir"
        log = done.stdout + done.stderr
        whole = planned.exists() and "External hivmc run fails" in log
        return Compiled(ir=planned.read_text() if whole else None, log=log)
