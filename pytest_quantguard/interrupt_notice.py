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
        from quantguard.errors import MeasurementError  # noqa: PLC0415
        from quantguard.records.answer_file import FOLDER  # noqa: PLC0415

        try:
            count = self._num_kept()
        except (OSError, MeasurementError) as error:
            terminalreporter.write_line(f"quantguard: interrupted; {error}", yellow=True)
            return
        kept = f"{count} answers are kept in {catalog.cache_root() / FOLDER}" if count else "no answer is kept"
        more = "; the same command goes on with them within a day" if count else ""
        terminalreporter.write_line(f"quantguard: interrupted; {kept}{more}", yellow=True)

    def _num_kept(self) -> int:
        """Count the answers that this process kept, or that its workers have written since it began."""
        state = self._config.stash.get(fixtures.STATE, None)
        if state is not None and state.store is not None:
            return state.store.num_kept()
        from quantguard import catalog  # noqa: PLC0415
        from quantguard.records.answer_file import FOLDER, NAME, count_of_runs_since  # noqa: PLC0415

        return count_of_runs_since(catalog.cache_root() / FOLDER / NAME, self._began)
