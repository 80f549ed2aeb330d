"""A process that runs model-written code, and what may come from it: so many bytes, until such a time."""

import os
import select
import signal
import subprocess
import time
from typing import IO

from quantguard.errors import SandboxError
from quantguard.sandbox import inside

_START_SECONDS = 60.0
_END_SECONDS = 5.0
_CHUNK_BYTES = 1 << 16
_LONGEST_COMPLAINT_BYTES = 2000
# What a process ends by at its limit of processor time: alone, or below bubblewrap as a status.
_OUT_OF_TIME = {-signal.SIGXCPU, -signal.SIGKILL, 128 + signal.SIGXCPU, 128 + signal.SIGKILL}


class EndedError(Exception):
    """Report that nothing more is to be had from a process, by the rule that a score names."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail


class Child:
    """A process that is spoken to in frames; whatever it does, no call here lasts longer than its deadline.

    ``output_bytes`` is what it may return or print in all.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", *, requests: int, replies: int, output_bytes: int) -> None:
        self._process = process
        self._requests = requests
        self._replies = replies
        self._left = output_bytes
        for descriptor in (requests, replies):
            os.set_blocking(descriptor, False)

    def wait_until_ready(self) -> None:
        """Wait until the process is confined; raise SandboxError where it does not get there."""
        try:
            said = self.receive(time.monotonic() + _START_SECONDS)
        except EndedError as error:
            self._kill()
            raise SandboxError(self._complaint() or error.detail) from error
        if said != inside.READY:
            raise SandboxError(f"it said {said[:40]!r} before it was given anything to run")

    def send(self, payload: bytes, deadline: float) -> None:
        """Send a frame; raise EndedError where it is not taken by the deadline."""
        rest = memoryview(inside.header(payload) + payload)
        while rest:
            _wait(self._requests, select.POLLOUT, deadline)
            try:
                rest = rest[os.write(self._requests, rest) :]
            except BrokenPipeError:
                raise self._ended(deadline) from None

    def receive(self, deadline: float) -> bytes:
        """Return the next frame; raise EndedError where there is none by the deadline, or it is too long."""
        size = int.from_bytes(self._read(inside.HEADER_BYTES, deadline), "big")
        self._left -= size
        if self._left < 0:
            raise EndedError("output-limit", "it returned too much")
        return self._read(size, deadline)

    def _read(self, size: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            _wait(self._replies, select.POLLIN, deadline)
            part = os.read(self._replies, min(size - len(parts), _CHUNK_BYTES))
            if not part:
                raise self._ended(deadline)
            parts += part
        return bytes(parts)

    def communicate(self, text: bytes, deadline: float) -> bytes:
        """Give a program its input and return what it printed, once it has ended in good order.

        Raises EndedError where it did not, printed too much, or was not done by the deadline.
        """
        feed, source = _pipe(self._process.stdin), _pipe(self._process.stdout)
        os.set_blocking(feed.fileno(), False)
        rest, output, poll = memoryview(text), bytearray(), select.poll()
        poll.register(source, select.POLLIN)
        poll.register(feed, select.POLLOUT)
        while time.monotonic() < deadline:
            events = dict(poll.poll(_milliseconds(deadline)))
            if not feed.closed and feed.fileno() in events:
                rest = _feed(feed.fileno(), rest)
                if not rest:
                    poll.unregister(feed)
                    feed.close()
            if source.fileno() in events:
                chunk = os.read(source.fileno(), _CHUNK_BYTES)
                output += chunk
                if len(output) > self._left:
                    raise EndedError("output-limit", "it printed too much")
                if not chunk:
                    self._end_well(deadline)
                    return bytes(output)
        raise EndedError("time-limit", "it was not done in time")

    def _end_well(self, deadline: float) -> None:
        """Raise EndedError for a program that did not end with status 0, or went on after it closed its output."""
        status = self._status(deadline)
        if status is None:
            raise EndedError("time-limit", "it was not done in time")
        if status:
            raise self._ended(deadline)

    def _ended(self, deadline: float) -> EndedError:
        """Say why a process closed its pipes; what it says of itself names the rule, and can make nothing right."""
        status = self._status(min(deadline, time.monotonic() + _END_SECONDS))
        if status is None:
            return EndedError("error", "it closed its pipes")
        if status in _OUT_OF_TIME:
            return EndedError("time-limit", "it was killed")
        rule = "memory-limit" if status == inside.OUT_OF_MEMORY else "error"
        return EndedError(rule, f"it ended with status {status}")

    def _status(self, deadline: float) -> int | None:
        """Wait for the process to end, and return its status, or minus the signal; it stays to be killed with others.

        None where it has not ended by the deadline.
        """
        descriptor = os.pidfd_open(self._process.pid)
        try:
            if not _is_ready(descriptor, select.POLLIN, deadline):
                return None
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


def _feed(descriptor: int, rest: memoryview) -> memoryview:
    """Write what is taken, and return the rest: none of it where nobody reads any more."""
    try:
        return rest[os.write(descriptor, rest[:_CHUNK_BYTES]) :]
    except BrokenPipeError:
        return rest[:0]


def _wait(descriptor: int, event: int, deadline: float) -> None:
    if time.monotonic() > deadline or not _is_ready(descriptor, event, deadline):
        raise EndedError("time-limit", "it did not answer in time")


def _is_ready(descriptor: int, event: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(_milliseconds(deadline)))


def _milliseconds(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic()) * 1000
