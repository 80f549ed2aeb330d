"""A lease on an NPU, or on timing: one process holds it, of all the pytest runs of a user on this machine.

The lock is the operating system's on a file in the user's runtime folder, so a process that dies gives it back,
however it dies. Beside it a small file says who holds it; it is believed only while the lock is taken.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import time
import warnings
from typing import TYPE_CHECKING, NamedTuple

import filelock
import platformdirs

from quantguard.errors import LeaseError, RecordError
from quantguard.records import from_json, to_json
from quantguard.records.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_POLL_SECONDS = 0.2
# After so long a holder that has not signed is told of as one that is not known.
_UNSIGNED_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds something. ``run`` is xdist's id of the whole run, the same in each of its workers."""

    pid: int
    command: str
    run: str | None
    since: str

    def __str__(self) -> str:
        """Name the process and its command."""
        return f"process {self.pid} ({self.command}) since {self.since}"


class Resource(NamedTuple):
    """What one process at a time may hold.

    ``name`` is that of its files. ``clash`` says what two workers of one run would do to it, and what to type instead;
    ``instead`` what else can be done than to wait.
    """

    name: str
    title: str
    clash: str
    instead: str


def npu(device_id: int) -> Resource:
    """Return an NPU, by the id that ASCEND_RT_VISIBLE_DEVICES knows it by."""
    return Resource(
        f"npu-{device_id}",
        f"NPU {device_id}",
        "two workers would measure on one NPU. Give --npu, which shares the NPUs out, or run without -n",
        "name another NPU in ASCEND_RT_VISIBLE_DEVICES",
    )


# Two timings at once would each measure the other, whatever devices they are on.
TIMING = Resource(
    "timing",
    "the timing of this machine",
    "two workers would time each other. Run latency gates without -n",
    "stop it",
)


class Leases:
    """What this process holds."""

    def __init__(self, *, command: str, run: str | None, wait_seconds: float, announce: Callable[[str], None]) -> None:
        self._command = command
        self._run = run
        self._wait_seconds = wait_seconds
        self._announce = announce
        self._held: dict[Resource, filelock.FileLock] = {}

    def hold(self, resource: Resource) -> None:
        """Take a resource and keep it, waiting while another process has it.

        Raises LeaseError naming the holder when the time is up, and at once where it is a worker of the same run,
        which cannot end before this one does.
        """
        if not self.try_hold(resource):
            self._wait(resource)

    def try_hold(self, resource: Resource) -> bool:
        """Take a resource if it is free, and tell whether it was."""
        return resource in self._held or self._take(resource, wait_seconds=0)

    def _take(self, resource: Resource, *, wait_seconds: float) -> bool:
        """Take a resource and sign for it where it becomes free in that time, and tell whether it did."""
        with _told(resource):
            lock = _lock(resource)
            if not _acquire(lock, wait_seconds=wait_seconds):
                return False
            try:
                self._sign(resource)
            except BaseException:
                lock.release()
                raise
        self._held[resource] = lock
        return True

    @contextlib.contextmanager
    def holding(self, resource: Resource) -> Iterator[None]:
        """Hold a resource for a while, waiting for it as ``hold`` does."""
        self.hold(resource)
        try:
            yield
        finally:
            self._give_back(resource)

    def release(self) -> None:
        """Give everything back."""
        for resource in list(self._held):
            self._give_back(resource)

    def _give_back(self, resource: Resource) -> None:
        _card(resource).unlink(missing_ok=True)
        self._held.pop(resource).release()

    def _wait(self, resource: Resource) -> None:
        """Wait for a resource, and look all the time who has it.

        A holder has the lock a moment before its card is there, and another may come before this one.
        """
        began, said, before = time.monotonic(), False, None
        while True:
            waited, holder = time.monotonic() - began, read_holder(resource)
            # Seen twice: the card of a worker that crashed a moment ago may lie there until the next holder signs.
            if holder is not None and holder == before and holder.run is not None and holder.run == self._run:
                raise LeaseError(f"{resource.title} is held by another worker of this run, {holder}: {resource.clash}")
            if not said and (before is not None or waited >= min(_UNSIGNED_SECONDS, self._wait_seconds)):
                self._announce(
                    f"{resource.title} is held by {holder or 'another process'}; waiting for it, at most"
                    f" {self._wait_seconds:g} s"
                )
                said = True
            left = self._wait_seconds - waited
            if self._take(resource, wait_seconds=min(_POLL_SECONDS, max(0.0, left))):
                return
            if left <= 0:
                raise LeaseError(
                    f"{resource.title} is still held by {read_holder(resource) or 'another process'} after"
                    f" {self._wait_seconds:g} s. Let that run end, {resource.instead}, or wait longer:"
                    " --quantguard-wait=SECONDS"
                )
            before = holder

    def _sign(self, resource: Resource) -> None:
        holder = Holder(pid=os.getpid(), command=self._command, run=self._run, since=time.strftime("%H:%M:%S"))
        write_whole(_card(resource), json.dumps(to_json(holder)))


def read_holder(resource: Resource) -> Holder | None:
    """Return who signed for a resource last, where that process lives; None where it is not known."""
    try:
        holder = from_json(Holder, json.loads(_card(resource).read_text(encoding="utf-8")))
        os.kill(holder.pid, 0)
    except (OSError, ValueError, RecordError):
        return None
    return holder


def folder() -> pathlib.Path:
    """Return where the lock files lie: of this user, and gone when the machine restarts."""
    with warnings.catch_warnings():
        # In a container nobody sets XDG_RUNTIME_DIR; the folder below /tmp that is used instead does as well.
        warnings.filterwarnings("ignore", message=".*XDG_RUNTIME_DIR")
        return platformdirs.user_runtime_path("quantguard", ensure_exists=True)


def _lock(resource: Resource) -> filelock.FileLock:
    # Without flock the library would fall back to a file that a crashed holder leaves behind for ever.
    return filelock.FileLock(folder() / f"{resource.name}.lock", thread_local=False, fallback_to_soft=False)


def _card(resource: Resource) -> pathlib.Path:
    return folder() / f"{resource.name}.json"


@contextlib.contextmanager
def _told(resource: Resource) -> Iterator[None]:
    """Raise LeaseError where the files of a lease cannot be written."""
    try:
        yield
    except OSError as error:
        raise LeaseError(
            f"{resource.title} cannot be leased: {error}. The files of leases lie in the user's runtime folder:"
            " XDG_RUNTIME_DIR names another"
        ) from error


def _acquire(lock: filelock.FileLock, *, wait_seconds: float) -> bool:
    with contextlib.suppress(filelock.Timeout):
        lock.acquire(timeout=wait_seconds, poll_interval=_POLL_SECONDS)
        return True
    return False
