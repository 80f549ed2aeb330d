"""Build stand-ins for the driver libraries that torch_npu links to. Type: python cann_stubs.py FOLDER [fake].

Plain stubs are what ``import torch_npu`` needs: every symbol that the wheel leaves undefined becomes a C function that
returns 0, and there is no device. With ``fake`` there is one device, whose memory is the host's: allocation and copies
work, operations do nothing but write their name and tensors to the file named by FAKE_ACL_LOG. Needs gcc and binutils.
"""

import pathlib
import re
import subprocess
import sys
import sysconfig

HERE = pathlib.Path(__file__).parent
SITE = pathlib.Path(sysconfig.get_paths()["purelib"])
SYSTEM = {
    "libstdc++.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libc.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
}
SYSTEM_FOLDERS = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64")
FAKE_LIBRARIES = (
    "libhccl.so",
    "libacl_op_compiler.so",
    "libge_runner.so",
    "libgraph.so",
    "libacl_tdt_channel.so",
    "libruntime.so",
)
NUM_SLOTS = 32  # as many as fake_operations.c looks at
RUNTIME = r"(aclrt|aclmdl|aclop|aclprof|aclsys|aclGet|aclSet|aclCreate|aclDestroy|aclInit|aclFinalize|aclQuery|aclApp"
RUNTIME += r"|aclDump|aclGen|acltdt|Hccl|Msprof|rt[A-Z])"


def users() -> list[pathlib.Path]:
    """List the vendor's libraries that are loaded by the import; the ATB plugin is loaded later, if at all."""
    found = [*SITE.glob("torch_npu/lib/*.so"), *SITE.glob("torch_npu/_C*.so")]
    return sorted(path for path in found if "atb" not in path.name)


def symbols(library: pathlib.Path, kind: str) -> set[str]:
    """Return dynamic symbols, ``--defined-only`` or ``--undefined-only``, without their versions."""
    lines = subprocess.run(["nm", "-D", kind, library], capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = [line.split() for line in lines]
    return {parts[-1].split("@")[0] for parts in wanted if kind == "--defined-only" or parts[-2] == "U"}


def needed(library: pathlib.Path) -> set[str]:
    """Return the libraries that one is linked to."""
    text = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"NEEDED.*\[(.*)\]", text))


def undefined() -> set[str]:
    """Return what neither the vendor's libraries, nor torch, nor the system has."""
    providers = [*users(), *SITE.glob("torch/lib/*.so*")]
    providers += [p for name in SYSTEM for folder in SYSTEM_FOLDERS if (p := pathlib.Path(folder, name)).exists()]
    defined = set().union(*(symbols(path, "--defined-only") for path in providers))
    wanted = set().union(*(symbols(path, "--undefined-only") for path in users())) - defined
    return {name for name in wanted if not name.startswith(("Py", "_Py"))}


def missing_libraries() -> set[str]:
    """Return the libraries that only a machine with CANN has."""
    shipped = {path.name for path in users()} | {path.name for path in SITE.glob("torch/lib/*")}
    return set().union(*(needed(path) for path in users())) - shipped - SYSTEM


def build_stubs(folder: pathlib.Path) -> None:
    """Build libraries with no device behind them."""
    special = {"aclrtGetDeviceCount": "int aclrtGetDeviceCount(unsigned *count) { *count = 0; return 0; }"}
    names = sorted(undefined())
    mangled = [name for name in names if name.startswith("_Z")]
    if mangled:
        raise SystemExit(f"torch_npu needs C++ functions of the driver, which cannot be stubbed: {mangled[:3]}")
    source = "\n".join(special.get(name) or nothing(name) for name in names)
    for library in sorted(missing_libraries() | {"libascendcl.so"}):
        compile_library(folder, library, source if library == "libascendcl.so" else "", [])


def build_fake(folder: pathlib.Path) -> None:
    """Build a runtime on the host's memory, and operations that write down what they are handed."""
    words: set[str] = set()
    for path in users():
        pattern = rb"(?:acl|Hccl|Msprof|rt[A-Z])[A-Za-z0-9_]{3,}(?=\0)"
        words |= {word.decode() for word in re.findall(pattern, path.read_bytes())}
    runtime = {word for word in words if re.match(RUNTIME, word)} | undefined()
    operations = {word for word in words if re.match(r"acl(nn|Rfft|Stft)", word)}
    written = {name: (HERE / name).read_text() for name in ("fake_runtime.c", "fake_operations.c")}
    # The vendor looks functions up in one library or another: each leads on to the runtime.
    runtime_too = ["-Wl,--no-as-needed", f"-L{folder}", "-l:libascendcl.so"]
    have = set(re.findall(r"\b(\w+)\(", "".join(written.values())))
    for library, file, names in (
        ("libascendcl.so", "fake_runtime.c", runtime),
        ("libopapi.so", "fake_operations.c", operations - runtime),
    ):
        bodies = [operation(name) if name in operations else nothing(name) for name in sorted(names - have)]
        linked = [] if library == "libascendcl.so" else runtime_too
        compile_library(folder, library, written[file] + "\n".join(bodies), linked)
    for library in FAKE_LIBRARIES:
        compile_library(folder, library, "", runtime_too)


def nothing(name: str) -> str:
    """Return a C function that succeeds."""
    return f"long {name}(void) {{ return 0; }}"


def operation(name: str) -> str:
    """Return a C function that succeeds and, where it is handed the arguments, writes down the tensors among them."""
    if not name.endswith("GetWorkspaceSize"):
        return nothing(name)
    slots = [f"a{index}" for index in range(NUM_SLOTS)]
    taken = ", ".join(f"const void *{slot}" for slot in slots)
    return f'long {name}({taken}) {{ const void *s[] = {{{", ".join(slots)}}}; note("{name}", s); return 0; }}'


def compile_library(folder: pathlib.Path, name: str, source: str, linked: list[str]) -> None:
    """Compile C into a shared library of this name."""
    file = folder / f"{name}.c"
    file.write_text(source + "\n")
    command: list[str | pathlib.Path] = [
        "gcc",
        "-w",
        "-O1",
        "-shared",
        "-fPIC",
        f"-Wl,-soname,{name}",
        "-o",
        folder / name,
        file,
        *linked,
    ]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    (build_fake if sys.argv[2:] == ["fake"] else build_stubs)(target)
