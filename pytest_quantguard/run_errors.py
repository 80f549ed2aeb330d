"""What failed beside the gates, such as a disk that is full: a line each, and no green run, whatever was decided."""

from __future__ import annotations

from typing import Any

import pytest

# Under this name troubles of a test travel on its report, and those of a worker's end on what it hands over.
_ATTRIBUTE = "quantguard_troubles"
_UNTOLD = pytest.StashKey[list[str]]()
# What a run is called that nothing else has failed in.
_GREEN = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def note_error(config: pytest.Config, text: str) -> None:
    """Keep what failed in this process until it is told, once."""
    untold = config.stash.setdefault(_UNTOLD, [])
    if text not in untold:
        untold.append(text)


class ErrorSender:
    """Sends the troubles of a process along with its reports; every process of a run of gates has one."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Put what is untold on a report of this process, before xdist sends it."""
        if troubles := self._take():
            vars(report)[_ATTRIBUTE] = [*getattr(report, _ATTRIBUTE, []), *troubles]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Hand over what failed at the end of a worker."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_ATTRIBUTE] = self._take()

    def _take(self) -> list[str]:
        untold = self._config.stash.get(_UNTOLD, [])
        self._config.stash[_UNTOLD] = []
        return untold


class ErrorReporter:
    """The troubles of all processes, where they are told."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._told: dict[str, None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take those of a test."""
        self._told |= dict.fromkeys(getattr(report, _ATTRIBUTE, ()))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take those of a worker's end."""
        self._told |= dict.fromkeys(getattr(node, "workeroutput", {}).get(_ATTRIBUTE, ()))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Refuse to end well."""
        self._told |= dict.fromkeys(self._config.stash.get(_UNTOLD, ()))
        if self._told and session.exitstatus in _GREEN:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say each in a line."""
        for text in self._told:
            terminalreporter.write_line(f"ERROR quantguard: {text}", red=True)


def register(config: pytest.Config) -> None:
    """Have troubles carried to where they are told."""
    config.pluginmanager.register(ErrorSender(config), "quantguard-trouble-carrier")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ErrorReporter(config), "quantguard-troubles")
