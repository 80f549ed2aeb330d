"""A process and its descendants as the kernel shows them in /proc: their processor time, and whether they wait.

A program in the sandbox is a grandchild of this process, and what it says about itself cannot be trusted.
"""

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator

# Positions among the fields of /proc/PID/stat after the name; proc(5) counts all fields from 1, the name is the second.
_STATE, _PARENT, _USER_TICKS, _SYSTEM_TICKS = 0, 1, 11, 12
# R: running or ready to run. D: waiting for a disk, as happens if memory is short.
_WORKING = frozenset("RD")
_NUM_READINGS, _READING_SECONDS = 5, 0.02


def cpu_seconds(pid: int) -> float:
    """Return the processor time, in seconds, that a process and its living descendants have used so far."""
    ticks = sum(int(stat[_USER_TICKS]) + int(stat[_SYSTEM_TICKS]) for stat in _tree(pid).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def is_waiting(pid: int) -> bool:
    """Tell whether a process and its descendants wait for something other than a processor, in several readings."""
    for _ in range(_NUM_READINGS):
        states = [stat[_STATE] for member in _tree(pid) for stat in _stats(pathlib.Path(f"/proc/{member}/task"))]
        if not states or not _WORKING.isdisjoint(states):
            return False
        time.sleep(_READING_SECONDS)
    return True


def _tree(pid: int) -> dict[int, list[str]]:
    """Return the fields of a process and of its descendants, by their ids."""
    stats = {int(stat[-1]): stat for stat in _stats(pathlib.Path("/proc"))}
    found: dict[int, list[str]] = {}
    fresh = {pid} & stats.keys()
    while fresh:
        found |= {member: stats[member] for member in fresh}
        fresh = {member for member, stat in stats.items() if int(stat[_PARENT]) in fresh} - found.keys()
    return found


def _stats(folder: pathlib.Path) -> Iterator[list[str]]:
    """Yield, for each process or thread in a folder of /proc, its fields after the name, with its id appended."""
    for path in folder.glob("[0-9]*/stat"):
        # A process may end between the listing and the reading.
        with contextlib.suppress(OSError):
            yield [*path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split(), path.parent.name]
