"""A process that runs model-written code, and what may come from it: so many bytes, until such a time."""

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
# How often a process that takes long is looked at.
_LOOK_SECONDS = 0.5
_CHUNK_BYTES = 1 << 16
_LONGEST_COMPLAINT_BYTES = 2000
# No program can send these, or end with the statuses that bubblewrap makes of them: see system_calls.
_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGKILL, 128 + signal.SIGTERM}
_OUT_OF_TIME = {-signal.SIGXCPU, 128 + signal.SIGXCPU}
# The rules of ends that say nothing of a program: this machine's doing.
HOST_RULES = frozenset({"killed", "starved"})


class ProgramEndedError(Exception):
    """Report that nothing more is to be had from a process, by the rule that a score names."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail


class ConfinedProcess:
    """A process that is spoken to in frames; whatever it does, no call here lasts longer than its deadline.

    Of its ``limits`` those on output and time are seen to here.
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

        Raises SandboxError where it does not get there, and ProgramEndedError where this machine ended it or left it no time.
        """
        try:
            said = self.receive(time.monotonic() + _START_SECONDS)
        except ProgramEndedError as error:
            self._kill()
            if error.rule in HOST_RULES:
                raise
            raise SandboxError(self._complaint() or error.detail) from error
        if said != guest.READY:
            raise SandboxError(f"it said {said[:40]!r} before it was given anything to run")

    def send(self, payload: bytes, deadline: float) -> None:
        """Send a frame; raise ProgramEndedError where it is not taken by the deadline."""
        rest = memoryview(guest.header(payload) + payload)
        while rest:
            self._wait(self._requests, select.POLLOUT, deadline)
            try:
                rest = rest[os.write(self._requests, rest) :]
            except BrokenPipeError:
                raise self._ended(deadline) from None

    def receive(self, deadline: float) -> bytes:
        """Return the next frame; raise ProgramEndedError where there is none by the deadline, or it is too long."""
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
        """Return what a program printed, once it has ended in good order.

        Raises ProgramEndedError where it did not, printed too much, or was not done by the deadline.
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
        """Raise ProgramEndedError for a program that did not end with status 0, or went on after it closed its output."""
        status = self._status(deadline)
        if status is None:
            raise self._late()
        if status:
            raise self._ended(deadline)

    def _ended(self, deadline: float) -> ProgramEndedError:
        """Say why a process closed its pipes; what it says of itself names the rule, and can make nothing right."""
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
        """Tell the second limit of processor time, of a program that the first did not end, from other killers."""
        if self._cpu_seconds >= self._limits.cpu_seconds:
            return ProgramEndedError("time-limit", f"it used {self._cpu_seconds:.1f} s of processor time")
        return ProgramEndedError(
            "killed",
            f"it was ended from outside with status {status} after {self._cpu_seconds:.1f} s of processor time, as the"
            " kernel does where the machine runs out of memory: see dmesg",
        )

    def _late(self) -> ProgramEndedError:
        """Tell a program that waits from one that was kept from the processor time that it may have."""
        if process_tree.is_waiting(self._process.pid):
            return ProgramEndedError("wall-limit", "it waited until the end of its time by the clock")
        return ProgramEndedError(
            "starved", f"the machine gave it {self._cpu_seconds:.1f} s of processor time by the end of its time"
        )

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        """Wait until a descriptor is ready; raise ProgramEndedError at the deadline, as well where it is ready by then."""
        while (now := time.monotonic()) < deadline:
            if _is_ready(descriptor, event, min(deadline, now + _LOOK_SECONDS)):
                return
            self._look()
        raise self._late()

    def _look(self) -> None:
        self._cpu_seconds = max(self._cpu_seconds, process_tree.cpu_seconds(self._process.pid))

    def _status(self, deadline: float) -> int | None:
        """Wait for the process to end, and return its status, or minus the signal; it stays to be killed with others.

        None where it has not ended by the deadline.
        """
        descriptor = os.pidfd_open(self._process.pid)
        try:
            while not _is_ready(descriptor, select.POLLIN, min(deadline, time.monotonic() + _LOOK_SECONDS)):
                if time.monotonic() >= deadline:
                    return None
                self._look()
            ended = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOWAIT)
        finally:
            os.close(descriptor)
        assert ended is not None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def _complaint(self) -> str:
        """Return what a process that was ended said on its standard error."""
        stream = _pipe(self._process.stderr)
        os.set_blocking(stream.fileno(), False)
        try:
            return os.read(stream.fileno(), _LONGEST_COMPLAINT_BYTES).decode(errors="replace").strip()
        except BlockingIOError:
            return ""

    def _kill(self) -> None:
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """End the process, and with it whatever it started."""
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
