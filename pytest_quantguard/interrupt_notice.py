"""The notice after Ctrl-C: how many answers are kept, and that the same command continues with them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pytest_quantguard import fixtures


class InterruptNotice:
    """Prints the notice at the end of an interrupted run, in the process that writes to the terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = time.time()
        self._interrupted = False

    def pytest_keyboard_interrupt(self) -> None:
        """Record the interruption."""
        self._interrupted = True

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print how many answers are kept, and where."""
        if not self._interrupted:
            return
        from quantguard import catalog  # noqa: PLC0415 - most runs are not interrupted

        count = self._num_kept()
        kept = f"{count} answers are kept in {catalog.cache_root() / 'generations'}" if count else "no answer is kept"
        more = "; the same command goes on with them within a day" if count else ""
        terminalreporter.write_line(f"quantguard: interrupted; {kept}{more}", yellow=True)

    def _num_kept(self) -> int:
        """Count the answers that this process kept, or that its workers have written since it began."""
        state = self._config.stash.get(fixtures.STATE, None)
        if state is not None and state.store is not None:
            return state.store.num_kept()
        from quantguard import catalog  # noqa: PLC0415

        files = (catalog.cache_root() / "generations").glob("*.jsonl")
        fresh = [file for file in files if file.stat().st_mtime >= self._began]
        # The first line of a file says what its answers belong to; a line that was being written has no newline yet.
        return sum(max(0, file.read_bytes().count(b"\n") - 1) for file in fresh)
