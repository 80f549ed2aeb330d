"""What the kernel says of a process and of those below it: the processor time that they used, and whether they wait.

Read from /proc, as what runs in a sandbox is the child of a child, and need not tell the truth itself.
"""

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator

# Fields of /proc/PID/stat behind the name: see proc(5), where they are counted from 1 and the name is the second.
_STATE, _PARENT, _USER_TICKS, _SYSTEM_TICKS = 0, 1, 11, 12
# On a processor or in line for one, or waiting for a disk, as where memory is short.
_WORKING = frozenset("RD")
_LOOKS, _LOOK_SECONDS = 5, 0.02


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its descendants have used so far, without those that have ended."""
    ticks = sum(int(stat[_USER_TICKS]) + int(stat[_SYSTEM_TICKS]) for stat in _tree(pid).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def is_waiting(pid: int) -> bool:
    """Tell whether a process and its descendants wait for something else than a processor, however often one looks."""
    for _ in range(_LOOKS):
        states = [stat[_STATE] for member in _tree(pid) for stat in _stats(pathlib.Path(f"/proc/{member}/task"))]
        if not states or not _WORKING.isdisjoint(states):
            return False
        time.sleep(_LOOK_SECONDS)
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
    """Yield the fields behind the name for everything in a folder of /proc, and its id behind them."""
    for path in folder.glob("[0-9]*/stat"):
        # One that has ended meanwhile is not there any more.
        with contextlib.suppress(OSError):
            yield [*path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split(), path.parent.name]
