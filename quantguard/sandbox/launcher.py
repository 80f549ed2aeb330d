"""Starting a Python that is confined before it hears of any program."""

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

# All that a program finds in its environment; the same seed of hashes gives sets the same order in every run.
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
    """How programs are run: under the bubblewrap at ``bwrap``, or, where that is absent, within limits alone.

    ``sheds_root`` has root's programs run as a user that nobody is, without a user namespace. In a user namespace they
    would still be root to the kernel, whose limit of threads does not bind root.
    """

    bwrap: str | None
    sheds_root: bool = False

    @property
    def counts_threads(self) -> bool:
        """Whether the kernel counts the threads of a program apart from its user's: since 5.14 in a user namespace."""
        return self.sheds_root or (self.bwrap is not None and os.geteuid() != 0 and _kernel() >= (5, 14))

    @property
    def kind(self) -> str:
        """What runs have to share to be compared: ``bubblewrap`` or ``unsafe``."""
        return "unsafe" if self.bwrap is None else "bubblewrap"

    @property
    def name(self) -> str:
        """What the record says: ``bubblewrap 0.11.0`` or ``unsafe``."""
        return "unsafe" if self.bwrap is None else bubblewrap.version(self.bwrap)


def _kernel() -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", platform.release())[:2]))


class _Pipes(NamedTuple):
    """Descriptors by what we, and by what the process, write to."""

    requests: int
    replies: int
    its_requests: int
    its_replies: int


@contextlib.contextmanager
def start(isolation: Isolation, role: Role, limits: Limits, *, text: bytes = b"") -> Iterator[ConfinedProcess]:
    """Start a process for a role, and end it with everything that it started when the context ends.

    A ``program`` has ``text`` on its standard input, which is a file, as where contests redirect it: programs ask for
    its size, or open /dev/stdin. Its standard output is a pipe. Raises SandboxError where bubblewrap does not start;
    ``wait_until_ready`` does where Python does not.
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
    """Open a file of this text for reading alone; whoever a program runs as may read it as well."""
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
    """Return a pipe from which bubblewrap reads the filter of system calls; it is far shorter than a pipe's buffer."""
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
        # What bubblewrap itself was started with can be seen by the process inside, wherever /proc is.
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
            # Drawn anew, so that the kernel counts the threads of this one program.
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
    """Return what runs inside as hexadecimal text, compiled: that is a third of the time that a process starts in."""
    text = pathlib.Path(guest.__file__).read_text(encoding="utf-8") + "\nmain()\n"
    return marshal.dumps(compile(text, "<sandbox>", "exec")).hex()
