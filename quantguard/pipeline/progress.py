"""Showing how far a long run is."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TextIO

import tqdm

# Called with a label and a total, gives a function to be called with the number of items just finished.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextlib.contextmanager
def silent(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show nothing."""
    del label, total
    yield lambda _finished: None


def bar(stream: TextIO) -> Progress:
    """Draw a bar with the time left on ``stream``, and nothing where that is no terminal."""

    @contextlib.contextmanager
    def show(label: str, total: int) -> Iterator[Callable[[int], None]]:
        with tqdm.tqdm(desc=label, total=total, file=stream, disable=not stream.isatty(), leave=False) as drawn:

            def advance(finished: int) -> None:
                drawn.update(finished)

            yield advance

    return show
