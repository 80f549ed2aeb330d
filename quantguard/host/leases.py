"""A lease on an NPU: one process holds it, of all the pytest runs of a user on this machine.

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
from typing import TYPE_CHECKING

import filelock
import platformdirs

from quantguard.errors import KernelError, RecordError
from quantguard.records import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds an NPU. ``run`` is xdist's id of the whole run, the same in each of its workers."""

    pid: int
    command: str
    run: str | None
    since: str

    def __str__(self) -> str:
        """Name the process and its command."""
        return f"process {self.pid} ({self.command}) since {self.since}"


class Leases:
    """The NPUs that this process holds, by the id that ASCEND_RT_VISIBLE_DEVICES knows them by."""

    def __init__(self, *, command: str, run: str | None, wait_seconds: float, announce: Callable[[str], None]) -> None:
        self._command = command
        self._run = run
        self._wait_seconds = wait_seconds
        self._announce = announce
        self._held: dict[int, filelock.FileLock] = {}

    def hold(self, device_id: int) -> None:
        """Take an NPU and keep it, waiting while another process has it.

        Raises KernelError naming the holder when the time is up, and at once where it is a worker of the same run,
        which cannot end before this one does.
        """
        if device_id in self._held:
            return
        lock = _lock(device_id)
        if not _take(lock, wait_seconds=0):
            self._wait(lock, device_id)
        self._held[device_id] = lock
        self._sign(device_id)

    def try_hold(self, device_id: int) -> bool:
        """Take an NPU if it is free, and tell whether it was."""
        if device_id not in self._held:
            lock = _lock(device_id)
            if not _take(lock, wait_seconds=0):
                return False
            self._held[device_id] = lock
            self._sign(device_id)
        return True

    def release(self) -> None:
        """Give back every NPU."""
        while self._held:
            device_id, lock = self._held.popitem()
            _card(device_id).unlink(missing_ok=True)
            lock.release()

    def _wait(self, lock: filelock.FileLock, device_id: int) -> None:
        holder = read_holder(device_id)
        if holder is not None and holder.run is not None and holder.run == self._run:
            raise KernelError(
                f"NPU {device_id} is held by another worker of this run, {holder}: two workers would measure on one"
                " NPU. Give --npu, which shares the NPUs out, or run without -n"
            )
        self._announce(
            f"NPU {device_id} is held by {holder or 'another process'}; waiting for it, at most"
            f" {self._wait_seconds:g} s"
        )
        if not _take(lock, wait_seconds=self._wait_seconds):
            raise KernelError(
                f"NPU {device_id} is still held by {read_holder(device_id) or 'another process'} after"
                f" {self._wait_seconds:g} s. Let that run end, name another NPU in ASCEND_RT_VISIBLE_DEVICES, or wait"
                " longer: --quantguard-npu-wait=SECONDS"
            )

    def _sign(self, device_id: int) -> None:
        holder = Holder(pid=os.getpid(), command=self._command, run=self._run, since=time.strftime("%H:%M:%S"))
        _card(device_id).write_text(json.dumps(to_json(holder)), encoding="utf-8")


def read_holder(device_id: int) -> Holder | None:
    """Return who signed for an NPU last, where that process lives; None where it is not known."""
    try:
        holder = from_json(Holder, json.loads(_card(device_id).read_text(encoding="utf-8")))
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


def _lock(device_id: int) -> filelock.FileLock:
    # Without flock the library would fall back to a file that a crashed holder leaves behind for ever.
    return filelock.FileLock(folder() / f"npu-{device_id}.lock", thread_local=False, fallback_to_soft=False)


def _card(device_id: int) -> pathlib.Path:
    return folder() / f"npu-{device_id}.json"


def _take(lock: filelock.FileLock, *, wait_seconds: float) -> bool:
    with contextlib.suppress(filelock.Timeout):
        lock.acquire(timeout=wait_seconds, poll_interval=_POLL_SECONDS)
        return True
    return False
