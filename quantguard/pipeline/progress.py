"""Showing how far a long run is: tqdm draws, the words are ours."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TextIO

import tqdm

# What is worth saying of the items, or what finds it out once it is going to be shown.
Note = str | Callable[[], str]
_SECONDS_BETWEEN = 0.2
# What matters least stands last: a narrow terminal cuts the bar first, and then the label.
_LINE = "{n_fmt}/{total_fmt}{note}, {remaining} left: {desc}"


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


class _Meter(tqdm.tqdm):  # type: ignore[type-arg] # generic in its stubs alone
    _note: Note = ""

    def advance(self, finished: int, note: Note = "", *, resumed: bool = False) -> None:
        """Count finished items."""
        self._note = note
        if resumed and not self.disable:
            self.initial += finished
        self.update(finished)

    @property
    def format_dict(self) -> Any:
        """What tqdm fills its line with."""
        note = self._note() if callable(self._note) else self._note
        return {**super().format_dict, "note": f", {note}" if note else ""}


class _Log(_Meter):
    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Write a line of its own; the empty one, which takes a line away on a terminal, has no place in a log."""
        del pos
        if msg != "":
            print(msg or self, file=self.fp, flush=True)


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
            ascii=" #",
            bar_format=f"{_LINE} [{{bar}}]",
            mininterval=_SECONDS_BETWEEN,
            smoothing=0,
        ) as drawn:
            yield drawn.advance

    return show


def bar_or_lines(stream: TextIO) -> Progress:
    """Draw a bar on a terminal; write a line with the time left for every step anywhere else, such as a log."""
    return bar(stream) if stream.isatty() else _lines(stream)


def _lines(stream: TextIO) -> Progress:
    @contextlib.contextmanager
    def show(label: str, total: int) -> Iterator[Advance]:
        with _Log(
            desc=label,
            total=total,
            file=stream,
            leave=False,
            bar_format=_LINE,
            mininterval=0,
            miniters=1,
            smoothing=0,
        ) as written:
            yield written.advance

    return show
