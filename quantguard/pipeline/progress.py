"""Showing how far a long run is."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

import tqdm


class Advance(Protocol):
    """Told how many items were just finished, and what is worth saying of them."""

    def __call__(self, finished: int, note: str = "") -> None:
        """Show it."""


# Called with a label and a total.
Progress = Callable[[str, int], AbstractContextManager[Advance]]


@contextlib.contextmanager
def silent(label: str, total: int) -> Iterator[Advance]:
    """Show nothing."""
    del label, total

    def advance(finished: int, note: str = "") -> None:
        del finished, note

    yield advance


def bar(stream: TextIO) -> Progress:
    """Draw a bar with the time left on ``stream``, and nothing where that is no terminal, or under CI."""

    @contextlib.contextmanager
    def show(label: str, total: int) -> Iterator[Advance]:
        quiet = not stream.isatty() or bool(os.environ.get("CI"))
        with tqdm.tqdm(desc=label, total=total, file=stream, disable=quiet, leave=False) as drawn:

            def advance(finished: int, note: str = "") -> None:
                drawn.set_postfix_str(note, refresh=False)
                drawn.update(finished)

            yield advance

    return show


def bar_or_lines(stream: TextIO) -> Progress:
    """Draw a bar on a terminal; write a line with the time left for every step anywhere else, such as a log."""
    return bar(stream) if stream.isatty() else _lines(stream)


def _lines(stream: TextIO) -> Progress:
    @contextlib.contextmanager
    def show(label: str, total: int) -> Iterator[Advance]:
        started, before, done = time.monotonic(), 0, 0
        print(f"{label}: {total} steps", file=stream, flush=True)

        def advance(finished: int, note: str = "") -> None:
            nonlocal before, done
            done += finished
            if not note:  # finished in an earlier run, in no time
                before = done
                return
            left = (time.monotonic() - started) / (done - before) * (total - done)
            print(f"{done}/{total} {note}, {tqdm.tqdm.format_interval(left)} left", file=stream, flush=True)

        yield advance

    return show
