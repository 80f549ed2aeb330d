"""Showing how far a long run is."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

import tqdm

# What is worth saying of the items, or what finds it out once it is going to be shown.
Note = str | Callable[[], str]
_SECONDS_BETWEEN = 0.2
_NARROWEST_BAR, _WIDEST_BAR = 6, 30
_SHORTEST_LABEL = 6


class Advance(Protocol):
    """Told how many items were just finished, and what is worth saying of them."""

    def __call__(self, finished: int, note: Note = "", *, resumed: bool = False) -> None:
        """Show it; ``resumed`` items are of an earlier run and took no time."""


# Called with a label and a total.
Progress = Callable[[str, int], AbstractContextManager[Advance]]


@contextlib.contextmanager
def silent(label: str, total: int) -> Iterator[Advance]:
    """Show nothing."""
    del label, total

    def advance(finished: int, note: Note = "", *, resumed: bool = False) -> None:
        del finished, note, resumed

    yield advance


def bar(stream: TextIO) -> Progress:
    """Draw a bar with the time left on ``stream``; nothing under CI, and where that is no terminal or a dumb one."""

    @contextlib.contextmanager
    def show(label: str, total: int) -> Iterator[Advance]:
        quiet = not stream.isatty() or bool(os.environ.get("CI")) or os.environ.get("TERM") == "dumb"
        with _Meter(
            desc=label,
            total=total,
            file=stream,
            disable=quiet,
            leave=False,
            dynamic_ncols=True,
            mininterval=_SECONDS_BETWEEN,
        ) as drawn:
            yield drawn.advance

    return show


class _Meter(tqdm.tqdm):  # type: ignore[type-arg] # generic in its stubs alone
    """When to draw, how wide the terminal is and how a line is taken away again is tqdm's; the words are ours."""

    _note: Note = ""

    def advance(self, finished: int, note: Note = "", *, resumed: bool = False) -> None:
        """Count finished items."""
        self._note = note
        if resumed and not self.disable:
            self.initial += finished
        self.update(finished)

    def __str__(self) -> str:
        facts = self.format_dict
        new = facts["n"] - facts["initial"]
        left = facts["elapsed"] / new * (facts["total"] - facts["n"]) if new else None
        note = self._note() if callable(self._note) else self._note
        return meter(self.desc, facts["n"], facts["total"], note, seconds_left=left, width=facts["ncols"] or 80)


def meter(label: str, done: int, total: int, note: str, *, seconds_left: float | None, width: int) -> str:
    """Return one line of less than ``width`` columns: what is narrow goes first from the bar, then from the label."""
    left = None if seconds_left is None else f"{tqdm.tqdm.format_interval(seconds_left)} left"
    facts = ", ".join(part for part in (f"{done}/{total}", note, left) if part)[: width - 1]
    room = width - 2 - len(facts)
    if len(label) > room:
        label = f"{label[: room - 3]}..." if room >= _SHORTEST_LABEL else ""
    line = f"{label} {facts}".lstrip()
    columns = min(width - 4 - len(line), _WIDEST_BAR)
    if columns < _NARROWEST_BAR:
        return line
    return f"{line} [{'#' * (columns * done // total):{columns}}]"


def bar_or_lines(stream: TextIO) -> Progress:
    """Draw a bar on a terminal; write a line with the time left for every step anywhere else, such as a log."""
    return bar(stream) if stream.isatty() else _lines(stream)


def _lines(stream: TextIO) -> Progress:
    @contextlib.contextmanager
    def show(label: str, total: int) -> Iterator[Advance]:
        started, before, done = time.monotonic(), 0, 0
        print(f"{label}: {total} steps", file=stream, flush=True)

        def advance(finished: int, note: Note = "", *, resumed: bool = False) -> None:
            nonlocal before, done
            done += finished
            if resumed:
                before += finished
                return
            left = (time.monotonic() - started) / (done - before) * (total - done)
            words = note() if callable(note) else note
            print(f"{done}/{total} {words}, {tqdm.tqdm.format_interval(left)} left", file=stream, flush=True)

        yield advance

    return show
