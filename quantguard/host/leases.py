"""Leases on NPUs and on timing: of all pytest runs of a user on this machine, one process at a time holds each.

A lease is the operating system's lock on a file in the user's runtime folder, so a process that dies releases it,
however it dies. A small file beside it names the holder; it counts only while the lock is taken.
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
# After this time a holder that has not written its name is reported as unknown.
_UNSIGNED_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that holds a lease.

    Attributes:
        pid: Its process id.
        command: Its command line.
        run: xdist's id of the whole run, which its workers share; absent without xdist.
        since: When it took the lease, such as ``14:05:09``.
    """

    pid: int
    command: str
    run: str | None
    since: str

    def __str__(self) -> str:
        """Name the process and its command."""
        return f"process {self.pid} ({self.command}) since {self.since}"


class Resource(NamedTuple):
    """Something that one process at a time may hold.

    Attributes:
        name: The stem of its files.
        title: What messages call it.
        clash: What two workers of one run would do to each other, and what to type instead.
        instead: What a user can do other than wait.
    """

    name: str
    title: str
    clash: str
    instead: str


def npu(device_id: int) -> Resource:
    """Return the resource of an NPU, by its id in ASCEND_RT_VISIBLE_DEVICES."""
    return Resource(
        f"npu-{device_id}",
        f"NPU {device_id}",
        "two workers would measure on one NPU. Give --npu, which shares the NPUs out, or run without -n",
        "name another NPU in ASCEND_RT_VISIBLE_DEVICES",
    )


# Two timings at the same time would disturb each other, whatever devices they run on.
TIMING = Resource(
    "timing",
    "the timing of this machine",
    "two workers would time each other. Run latency gates without -n",
    "stop it",
)


class Leases:
    """The leases of this process."""

    def __init__(self, *, command: str, run: str | None, wait_seconds: float, announce: Callable[[str], None]) -> None:
        self._command = command
        self._run = run
        self._wait_seconds = wait_seconds
        self._announce = announce
        self._held: dict[Resource, filelock.FileLock] = {}

    def hold(self, resource: Resource) -> None:
        """Take a resource and keep it; wait while another process holds it.

        Raises LeaseError naming the holder when the time is up, and at once if the holder is a worker of the same run,
        which cannot end before this process does.
        """
        if not self.try_hold(resource):
            self._wait(resource)

    def try_hold(self, resource: Resource) -> bool:
        """Take a resource if it is free; return whether it was."""
        return resource in self._held or self._take(resource, wait_seconds=0)

    def _take(self, resource: Resource, *, wait_seconds: float) -> bool:
        """Take a resource and record the holder if it becomes free within that time; return whether it did."""
        with _lease_errors(resource):
            lock = _lock(resource)
            if not _acquire(lock, wait_seconds=wait_seconds):
                return False
            try:
                self._record_holder(resource)
            except BaseException:
                lock.release()
                raise
        self._held[resource] = lock
        return True

    @contextlib.contextmanager
    def holding(self, resource: Resource) -> Iterator[None]:
        """Hold a resource within the block; wait for it as ``hold`` does."""
        self.hold(resource)
        try:
            yield
        finally:
            self._release(resource)

    def release(self) -> None:
        """Release all leases."""
        for resource in list(self._held):
            self._release(resource)

    def _release(self, resource: Resource) -> None:
        _holder_file(resource).unlink(missing_ok=True)
        self._held.pop(resource).release()

    def _wait(self, resource: Resource) -> None:
        """Wait for a resource and watch who holds it.

        A holder takes the lock a moment before it writes its name, and another process may take it before this one.
        """
        began, announced, before = time.monotonic(), False, None
        while True:
            waited, holder = time.monotonic() - began, read_holder(resource)
            # Seen twice, since the file of a worker that crashed a moment ago stays until the next holder writes.
            if holder is not None and holder == before and holder.run is not None and holder.run == self._run:
                raise LeaseError(f"{resource.title} is held by another worker of this run, {holder}: {resource.clash}")
            if not announced and (before is not None or waited >= min(_UNSIGNED_SECONDS, self._wait_seconds)):
                self._announce(
                    f"{resource.title} is held by {holder or 'another process'}; waiting for it, at most"
                    f" {self._wait_seconds:g} s"
                )
                announced = True
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

    def _record_holder(self, resource: Resource) -> None:
        holder = Holder(pid=os.getpid(), command=self._command, run=self._run, since=time.strftime("%H:%M:%S"))
        write_whole(_holder_file(resource), json.dumps(to_json(holder)))


def read_holder(resource: Resource) -> Holder | None:
    """Return the process that last recorded itself as a resource's holder, or None if it is unknown or has ended."""
    try:
        holder = from_json(Holder, json.loads(_holder_file(resource).read_text(encoding="utf-8")))
        os.kill(holder.pid, 0)
    except (OSError, ValueError, RecordError):
        return None
    return holder


def folder() -> pathlib.Path:
    """Return the folder of the lock files, which belongs to this user and is emptied when the machine restarts."""
    with warnings.catch_warnings():
        # Containers do not set XDG_RUNTIME_DIR; the folder below /tmp that is used instead is just as good.
        warnings.filterwarnings("ignore", message=".*XDG_RUNTIME_DIR")
        return platformdirs.user_runtime_path("quantguard", ensure_exists=True)


def _lock(resource: Resource) -> filelock.FileLock:
    # Without flock the library would fall back to a file that a crashed holder never removes.
    return filelock.FileLock(folder() / f"{resource.name}.lock", thread_local=False, fallback_to_soft=False)


def _holder_file(resource: Resource) -> pathlib.Path:
    return folder() / f"{resource.name}.json"


@contextlib.contextmanager
def _lease_errors(resource: Resource) -> Iterator[None]:
    """Raise LeaseError if the files of a lease cannot be written."""
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
