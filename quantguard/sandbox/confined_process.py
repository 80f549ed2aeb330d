"""A process that runs model-written code: what it returns is bounded in size, and every wait has a deadline."""

import os
import select
import signal
import subprocess
import time
from typing import IO

from quantguard.errors import SandboxError
from quantguard.sandbox import guest, process_tree
from quantguard.sandbox.limits import Limits

_START_SECONDS = 120.0
_END_SECONDS = 30.0
# How often the processor time of a slow process is read.
_POLL_SECONDS = 0.5
_CHUNK_BYTES = 1 << 16
_LONGEST_STDERR_BYTES = 2000
# No program can send these signals, or exit with the statuses that bubblewrap makes of them: see system_calls.
_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGKILL, 128 + signal.SIGTERM}
_OUT_OF_TIME = {-signal.SIGXCPU, 128 + signal.SIGXCPU}
# The rules of ends that this machine caused, which say nothing about a program.
HOST_RULES = frozenset({"killed", "starved"})


class ProgramEndedError(Exception):
    """A process ended, or was stopped, by the named rule.

    Attributes:
        rule: The rule, as scores name it.
        detail: What is known about it, in words.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail


class ConfinedProcess:
    """A process that exchanges frames with this one; whatever it does, no call lasts longer than its deadline.

    The limits on output and time are enforced here; the process itself sets the others.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", *, requests: int, replies: int, limits: Limits) -> None:
        self._process = process
        self._requests = requests
        self._replies = replies
        self._limits = limits
        self._left = limits.output_bytes
        self._cpu_seconds = 0.0
        for descriptor in (requests, replies):
            os.set_blocking(descriptor, False)

    def wait_until_ready(self) -> None:
        """Wait until the process is confined.

        Raises SandboxError if confining it fails, and ProgramEndedError if this machine ended it or gave it no time.
        """
        try:
            said = self.receive(time.monotonic() + _START_SECONDS)
        except ProgramEndedError as error:
            self._kill()
            if error.rule in HOST_RULES:
                raise
            raise SandboxError(self._standard_error() or error.detail) from error
        if said != guest.READY:
            raise SandboxError(f"it said {said[:40]!r} before it was given anything to run")

    def send(self, payload: bytes, deadline: float) -> None:
        """Send a frame; raise ProgramEndedError if it is not read by the deadline."""
        rest = memoryview(guest.header(payload) + payload)
        while rest:
            self._wait(self._requests, select.POLLOUT, deadline)
            try:
                rest = rest[os.write(self._requests, rest) :]
            except BrokenPipeError:
                raise self._ended(deadline) from None

    def receive(self, deadline: float) -> bytes:
        """Return the next frame; raise ProgramEndedError if none arrives by the deadline, or if it is too long."""
        size = int.from_bytes(self._read(guest.HEADER_BYTES, deadline), "big")
        self._left -= size
        if self._left < 0:
            raise ProgramEndedError("output-limit", "it returned too much")
        return self._read(size, deadline)

    def _read(self, size: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self._wait(self._replies, select.POLLIN, deadline)
            part = os.read(self._replies, min(size - len(parts), _CHUNK_BYTES))
            if not part:
                raise self._ended(deadline)
            parts += part
        return bytes(parts)

    def printed(self, deadline: float) -> bytes:
        """Return what a program printed, after it has exited with status 0.

        Raises ProgramEndedError if it exits otherwise, prints too much or misses the deadline.
        """
        output, source = bytearray(), _pipe(self._process.stdout).fileno()
        while True:
            self._wait(source, select.POLLIN, deadline)
            chunk = os.read(source, _CHUNK_BYTES)
            output += chunk
            if len(output) > self._left:
                raise ProgramEndedError("output-limit", "it printed too much")
            if not chunk:
                self._end_well(deadline)
                return bytes(output)

    def _end_well(self, deadline: float) -> None:
        """Raise ProgramEndedError unless the program exits with status 0 by the deadline."""
        status = self._status(deadline)
        if status is None:
            raise self._late()
        if status:
            raise self._ended(deadline)

    def _ended(self, deadline: float) -> ProgramEndedError:
        """Return why a process closed its pipes.

        A program may choose its exit status: that can name another rule of failure, but never make a test pass.
        """
        status = self._status(min(deadline, time.monotonic() + _END_SECONDS))
        if status is None:
            return ProgramEndedError("error", "it closed its pipes")
        if status in _OUT_OF_TIME:
            return ProgramEndedError("time-limit", f"it used {self._limits.cpu_seconds} s of processor time")
        if status in _FROM_OUTSIDE:
            return self._ended_from_outside(status)
        rule = "memory-limit" if status == guest.OUT_OF_MEMORY else "error"
        return ProgramEndedError(rule, f"it ended with status {status}")

    def _ended_from_outside(self, status: int) -> ProgramEndedError:
        """Distinguish the hard limit of processor time, for a program that ignored the soft one, from other kills."""
        if self._cpu_seconds >= self._limits.cpu_seconds:
            return ProgramEndedError("time-limit", f"it used {self._cpu_seconds:.1f} s of processor time")
        return ProgramEndedError(
            "killed",
            f"it was ended from outside with status {status} after {self._cpu_seconds:.1f} s of processor time, as the"
            " kernel does where the machine runs out of memory: see dmesg",
        )

    def _late(self) -> ProgramEndedError:
        """Distinguish a program that waits from one that the machine gave too little processor time."""
        if process_tree.is_waiting(self._process.pid):
            return ProgramEndedError("wall-limit", "it waited until the end of its time by the clock")
        return ProgramEndedError(
            "starved", f"the machine gave it {self._cpu_seconds:.1f} s of processor time by the end of its time"
        )

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        """Wait until a descriptor is ready; raise ProgramEndedError at the deadline, even if it is ready by then."""
        while (now := time.monotonic()) < deadline:
            if _is_ready(descriptor, event, min(deadline, now + _POLL_SECONDS)):
                return
            self._read_cpu_seconds()
        raise self._late()

    def _read_cpu_seconds(self) -> None:
        self._cpu_seconds = max(self._cpu_seconds, process_tree.cpu_seconds(self._process.pid))

    def _status(self, deadline: float) -> int | None:
        """Wait for the process to end, and return its exit status, or minus the signal; None at the deadline.

        The process is not reaped: its id stays reserved until ``close`` kills its whole group.
        """
        descriptor = os.pidfd_open(self._process.pid)
        try:
            while not _is_ready(descriptor, select.POLLIN, min(deadline, time.monotonic() + _POLL_SECONDS)):
                if time.monotonic() >= deadline:
                    return None
                self._read_cpu_seconds()
            ended = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOWAIT)
        finally:
            os.close(descriptor)
        assert ended is not None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def _standard_error(self) -> str:
        """Return what an ended process wrote to its standard error."""
        stream = _pipe(self._process.stderr)
        os.set_blocking(stream.fileno(), False)
        try:
            return os.read(stream.fileno(), _LONGEST_STDERR_BYTES).decode(errors="replace").strip()
        except BlockingIOError:
            return ""

    def _kill(self) -> None:
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Kill the process and whatever it started."""
        self._kill()
        os.close(self._requests)
        os.close(self._replies)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _is_ready(descriptor: int, event: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
