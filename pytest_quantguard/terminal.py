"""The progress display of a running gate: on the line below pytest's own, which stays unchanged."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from quantguard.pipeline.progress import Progress


@contextlib.contextmanager
def shown(config: pytest.Config) -> Iterator[Progress]:
    """Yield a progress display that works while pytest captures output; a silent one in xdist's workers."""
    from quantguard.pipeline.progress import bar, silent  # noqa: PLC0415 - the package loads torch

    if hasattr(config, "workerinput"):
        yield silent
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    with contextlib.nullcontext() if capture is None else capture.global_and_fixture_disabled():
        yield bar(_below(config, sys.stderr))


def _below(config: pytest.Config, stream: TextIO) -> TextIO:
    """Return a stream that writes below pytest's unfinished line, if both are on the terminal."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or not reporter.isatty or not stream.isatty():
        return stream
    column = reporter._tw.width_of_current_line  # noqa: SLF001 - nobody else knows
    return cast("TextIO", _LineBelow(stream, column=column))


class _LineBelow(io.TextIOBase):
    """Writes on the line below the cursor, and returns the cursor to its column."""

    def __init__(self, stream: TextIO, *, column: int) -> None:
        self._stream, self._column = stream, column

    @property
    def encoding(self) -> str:  # type: ignore[override] # typeshed has an attribute
        """The encoding of the stream."""
        return self._stream.encoding

    def write(self, text: str) -> int:
        """Write a line, which has to fit the width of the terminal."""
        forward = f"\x1b[{self._column}C" if self._column else ""
        return self._stream.write(f"\n{text}\r\x1b[A{forward}")

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the stream's descriptor, which is used to ask for the width of the terminal."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Return True: it is made for terminals only."""
        return True
