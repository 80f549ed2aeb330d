"""The launcher of sandboxed processes: each is confined before it receives any model-written code."""

import contextlib
import dataclasses
import functools
import json
import marshal
import os
import pathlib
import platform
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO, Literal, NamedTuple

from quantguard.errors import SandboxError
from quantguard.sandbox import bubblewrap, guest, system_calls
from quantguard.sandbox.confined_process import ConfinedProcess
from quantguard.sandbox.limits import Limits

Role = Literal["solution", "examiner", "program"]

# The whole environment of a program. A fixed hash seed gives sets the same order in every run.
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    # As many as LiveCodeBench allows; Python's own limit is 4300.
    "PYTHONINTMAXSTRDIGITS": "50000",
    "MALLOC_ARENA_MAX": "1",
}
_START = "import marshal, sys; exec(marshal.loads(bytes.fromhex(sys.argv.pop())))"
_WITHOUT_PACKAGES = ("-S", "-P", "-s", "-B")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """How programs are isolated.

    Attributes:
        bwrap: The path of the bubblewrap that confines them; absent, only resource limits do.
        sheds_root: Whether root's programs run under an unused user id, without a user namespace. In a user namespace
            they would still be root to the kernel, whose limit on threads does not bind root.
    """

    bwrap: str | None
    sheds_root: bool = False

    @property
    def counts_threads(self) -> bool:
        """Whether the kernel counts a program's threads apart from its user's, as it does per namespace since 5.14."""
        return self.sheds_root or (self.bwrap is not None and os.geteuid() != 0 and _kernel() >= (5, 14))

    @property
    def kind(self) -> str:
        """The part of the fingerprint that runs have to share: ``bubblewrap`` or ``unsafe``."""
        return "unsafe" if self.bwrap is None else "bubblewrap"

    @property
    def name(self) -> str:
        """The name in the record: ``bubblewrap 0.11.0`` or ``unsafe``."""
        return "unsafe" if self.bwrap is None else bubblewrap.version(self.bwrap)


def _kernel() -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", platform.release())[:2]))


class _Pipes(NamedTuple):
    """The descriptors of both pipes: the ends of this process, and those of the started one (``its_``)."""

    requests: int
    replies: int
    its_requests: int
    its_replies: int


@contextlib.contextmanager
def start(isolation: Isolation, role: Role, limits: Limits, *, text: bytes = b"") -> Iterator[ConfinedProcess]:
    """Start a process for a role; at the end of the block, kill it with everything that it started.

    A ``program`` has ``text`` on its standard input. That is a file and not a pipe, as in contests: programs ask for
    its size, or open /dev/stdin. Its standard output is a pipe. Raises SandboxError if bubblewrap does not start; if
    Python does not, ``wait_until_ready`` raises it.
    """
    with contextlib.ExitStack() as files:
        given = files.enter_context(_file(text)) if role == "program" else None
        child = _start(isolation, role, limits, given)
        try:
            yield child
        finally:
            child.close()


def _start(isolation: Isolation, role: Role, limits: Limits, given: IO[bytes] | None) -> ConfinedProcess:
    with contextlib.ExitStack() as stack:
        filters = [_filter()] if isolation.bwrap is not None else []
        pipes = _open_pipes()
        ends = [pipes.its_requests, pipes.its_replies, *filters]
        for descriptor in ends:
            stack.callback(os.close, descriptor)
        try:
            process = _open_process(_command(isolation, role, limits, ends, given), isolation, ends, given)
        except OSError as error:
            os.close(pipes.requests)
            os.close(pipes.replies)
            raise SandboxError(f"{isolation.kind} does not start: {error}") from error
    return ConfinedProcess(process, requests=pipes.requests, replies=pipes.replies, limits=limits)


@contextlib.contextmanager
def _file(text: bytes) -> Iterator[IO[bytes]]:
    """Write a text to a temporary file and open it for reading; the user id of the program may read it as well."""
    with tempfile.NamedTemporaryFile() as written:
        written.write(text)
        written.flush()
        pathlib.Path(written.name).chmod(0o444)
        with pathlib.Path(written.name).open("rb") as opened:
            yield opened


def _open_pipes() -> _Pipes:
    its_requests, requests = os.pipe()
    replies, its_replies = os.pipe()
    return _Pipes(requests, replies, its_requests, its_replies)


def _filter() -> int:
    """Return a pipe from which bubblewrap reads the filter of system calls, which is far shorter than its buffer."""
    program = system_calls.program()
    reading, writing = os.pipe()
    os.write(writing, program)
    os.close(writing)
    return reading


def _open_process(
    command: list[str], isolation: Isolation, descriptors: list[int], given: IO[bytes] | None
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        command,
        # Bubblewrap gets no environment: the process inside could read it wherever /proc is visible.
        env={} if isolation.bwrap else ENVIRONMENT,
        cwd="/",
        stdin=subprocess.DEVNULL if given is None else given,
        stdout=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,
    )


def _command(
    isolation: Isolation, role: Role, limits: Limits, descriptors: list[int], given: IO[bytes] | None
) -> list[str]:
    command: list[str] = []
    user = None
    if isolation.bwrap is not None:
        command = bubblewrap.command(
            isolation.bwrap,
            descriptor=descriptors[2],
            sheds_root=isolation.sheds_root,
            standard_input=None if given is None else given.name,
        )
        for name, value in ENVIRONMENT.items():
            command += ["--setenv", name, value]
        if isolation.sheds_root:
            # A user id drawn for this process alone, so that the kernel counts its threads apart from all others.
            user = random.SystemRandom().randrange(1 << 30, 1 << 31)
    settings = {
        "role": role,
        "requests": descriptors[0],
        "replies": descriptors[1],
        "limits": limits.resources(counts_threads=isolation.counts_threads),
        "user": user,
    }
    return [*command, bubblewrap.interpreter(), *_WITHOUT_PACKAGES, "-c", _START, json.dumps(settings), _compiled()]


@functools.cache
def _compiled() -> str:
    """Return the guest's code, compiled, as hexadecimal text: compiling takes a third of a process's start-up time."""
    text = pathlib.Path(guest.__file__).read_text(encoding="utf-8") + "\nmain()\n"
    return marshal.dumps(compile(text, "<sandbox>", "exec")).hex()
