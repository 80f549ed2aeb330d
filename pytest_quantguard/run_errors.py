"""Errors of a run outside its gates, such as a full disk: each is printed, and the run fails whatever the gates say."""

from __future__ import annotations

from typing import Any

import pytest

# The name under which errors travel: on the report of a test, and in what a worker hands over at its end.
_ATTRIBUTE = "quantguard_errors"
_UNSENT = pytest.StashKey[list[str]]()
# The exit codes of a run in which nothing else has failed.
_GREEN = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def note_error(config: pytest.Config, text: str) -> None:
    """Record an error of this process, once, until it is sent."""
    unsent = config.stash.setdefault(_UNSENT, [])
    if text not in unsent:
        unsent.append(text)


class ErrorSender:
    """Sends the errors of a process along with its reports; every process of a run of gates has one."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Put unsent errors on a report of this process, before xdist sends it."""
        if errors := self._take():
            vars(report)[_ATTRIBUTE] = [*getattr(report, _ATTRIBUTE, []), *errors]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Hand over the errors from the end of a worker."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_ATTRIBUTE] = self._take()

    def _take(self) -> list[str]:
        unsent = self._config.stash.get(_UNSENT, [])
        self._config.stash[_UNSENT] = []
        return unsent


class ErrorReporter:
    """Collects the errors of all processes and prints them, in the process that writes to the terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._errors: dict[str, None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the errors on a test's report."""
        self._errors |= dict.fromkeys(getattr(report, _ATTRIBUTE, ()))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Collect the errors that a worker handed over."""
        self._errors |= dict.fromkeys(getattr(node, "workeroutput", {}).get(_ATTRIBUTE, ()))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Make the run fail if there are errors."""
        self._errors |= dict.fromkeys(self._config.stash.get(_UNSENT, ()))
        if self._errors and session.exitstatus in _GREEN:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print each error on a line."""
        for text in self._errors:
            terminalreporter.write_line(f"ERROR quantguard: {text}", red=True)


def register(config: pytest.Config) -> None:
    """Register the sender in every process, and the reporter in the one that writes to the terminal."""
    config.pluginmanager.register(ErrorSender(config), "quantguard-error-sender")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ErrorReporter(config), "quantguard-errors")
