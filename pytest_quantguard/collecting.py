"""What the controller knows: every gate's result, the baselines to write, and how the session ends."""

from collections.abc import Generator, Sequence
from typing import Any

import pytest

from pytest_quantguard import completeness, planning, run_errors
from pytest_quantguard.baseline_writer import BaselineWriter
from pytest_quantguard.fixtures import NEEDS_NPU, benchmarks_of
from pytest_quantguard.result_log import handed_over, result_log_of
from pytest_quantguard.run_log import RunLog
from quantguard.baselines.suites import remember
from quantguard.baselines.survey import Notice, survey
from quantguard.errors import QuantguardError
from quantguard.gates import GateResult
from quantguard.report import output_files, plain_text
from quantguard.report.multiple_testing import multiple_testing_lines
from quantguard.run_options import RunOptions


class Collector:
    """Gathers results from test reports, which xdist brings to the controller and plain pytest makes in place.

    It lives in the controller alone, and so does what writes baselines.
    """

    def __init__(self, options: RunOptions, writer: BaselineWriter) -> None:
        self._options = options
        self._writer = writer
        self._results: list[tuple[str, GateResult]] = []
        self._run_log = RunLog()
        self._plans: list[tuple[str, list[str]]] = []
        self._ended: set[str] = set()
        self._notices: tuple[Notice, ...] = ()
        self._has_written_report = False
        self._session: pytest.Session | None = None
        self._overruled = False
        self._exit_status: int = pytest.ExitCode.OK

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the results of a finished test and put its measured baselines in place."""
        if _came_to_its_end(report):
            self._ended.add(report.nodeid)
        if plans := getattr(report, planning.REPORT_ATTRIBUTE, None):
            self._plans.append((report.nodeid, plans))
        results = self._run_log.note_report(report)
        self._results += results
        self._writer.take(report, [result for _, result in results])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note that a test begins."""
        self._run_log.note_started(nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what could not be collected."""
        self._run_log.note_uncollected(report)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn which tests there are."""
        self._run_log.note_collected(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Learn which tests there are, in their order, which workers finish in any other."""
        del node
        self._run_log.note_collected(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the results that no report of a worker brought."""
        self._take_late(node.config, handed_over(node))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, and refuse to end well by a verdict that fails, or where gates were asked for in vain."""
        if session.config.getoption("collectonly"):
            return
        self._take_late(session.config, result_log_of(session.config).unsent())
        results = self._run_log.results(end=_end_of(session))
        self._results = [(nodeid, self._writer.noted(result)) for nodeid, result in results]
        try:
            self._look_through_baselines(session)
        except (OSError, QuantguardError) as error:
            run_errors.note_error(session.config, f"the stored baselines were not looked through: {error}")
        self._write_report(session.config)
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = self._judge_run()
        self._session, self._exit_status = session, session.exitstatus

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_unconfigure(self) -> Generator[None, None, None]:
        """Let nobody have turned the end of the session to the good meanwhile."""
        yield
        if self._session is not None and self._session.exitstatus == pytest.ExitCode.OK:
            self._session.exitstatus = self._exit_status

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say for every gate what was measured, against what, on how many items, and why it passed or not."""
        if terminalreporter.config.getoption("collectonly"):
            return
        terminalreporter.section("quantguard", sep="=")
        if self._options.plan:
            self._show_plans(terminalreporter)
            return
        self._show_results(terminalreporter, self._results)
        for line in self._writer.lines():
            terminalreporter.write_line(line, yellow=line.startswith("baseline not written"))
        for line in multiple_testing_lines([result for _, result in self._results]):
            terminalreporter.write_line(line, yellow=True)
        for notice in self._notices:
            terminalreporter.write_line(notice.line, yellow=True)
        if self._overruled:
            said = "quantguard: pytest counts no failure, and the exit code is 1: it follows the verdicts"
            terminalreporter.write_line(said, red=True)
        if (missing := self._missing()) is not None:
            terminalreporter.write_line(f"quantguard: {missing}", red=True)
        terminalreporter.write_line(plain_text.closing_line(self._results))
        if self._has_written_report:
            terminalreporter.write_line(f"report: {self._options.report}")

    def _take_late(self, config: pytest.Config, rows: Sequence[str]) -> None:
        """Keep what no report brought; a baseline among it is not stored, and said not to be."""
        for nodeid, result in self._run_log.take(rows):
            if result.pending is not None:
                why = f"no report of {nodeid} brought it, so that nothing says how the test ended"
                run_errors.note_error(config, f"baseline not written: {result.pending_path}: {why}")

    def _judge_run(self) -> int:
        """Return the exit code of a run with which pytest itself finds nothing wrong."""
        self._overruled = any(result.fails(inconclusive=self._options.inconclusive) for _, result in self._results)
        if self._overruled:
            return pytest.ExitCode.TESTS_FAILED
        return pytest.ExitCode.OK if self._missing() is None else pytest.ExitCode.NO_TESTS_COLLECTED

    def _show_results(self, terminalreporter: Any, results: Sequence[tuple[str, GateResult]]) -> None:
        for nodeid, result in results:
            terminalreporter.write_line(nodeid, bold=True)
            markup = {_COLOURS[result.label]: True}
            for line in plain_text.gate_lines([result]):
                terminalreporter.write_line(f"  {line}", **markup)

    def _write_report(self, config: pytest.Config) -> None:
        """Write the report, where one was asked for; what fails costs no verdict."""
        if self._options.report is None:
            return
        try:
            output_files.write_all(self._options.report, self._results, self._notices, benchmarks_of(config))
        # The verdicts are decided, and a section of the report may be another distribution's.
        except Exception as error:  # noqa: BLE001
            what = f"{type(error).__name__}: {error}"
            run_errors.note_error(config, f"the report was not written to {self._options.report}: {what}")
        else:
            self._has_written_report = True

    def _look_through_baselines(self, session: pytest.Session) -> None:
        """Find what is to be said of stored baselines, and keep what a whole run has no use for."""
        locations = [result.place for _, result in self._results if result.place is not None]
        whole = completeness.is_whole(session, self._options, self._ended)
        self._notices = survey(self._options.baselines, locations, whole=whole, kept=self._options.kept_baselines)
        if whole:
            remember(self._options.baselines, {location.platform for location in locations}, self._notices)

    def _show_plans(self, terminalreporter: Any) -> None:
        for nodeid, lines in self._plans:
            terminalreporter.write_line(nodeid, bold=True)
            for line in lines:
                terminalreporter.write_line(f"  {line}")
        # What a plan says of its gate stands above; the rest is tests that came to no plan.
        planned = {nodeid for nodeid, _ in self._plans}
        rest = [(nodeid, result) for nodeid, result in self._results if nodeid not in planned]
        self._show_results(terminalreporter, rest)
        terminalreporter.write_line("quantguard: planned, nothing run")

    def _missing(self) -> str | None:
        """Say what a run that is otherwise fine was asked for and did not do, or None."""
        if self._options.plan:
            return None if self._plans else "a plan was asked for, and there is no gate to plan"
        found = [result for _, result in self._results if not result.of_test and result.unjudged is None]
        decided = [result for result in found if result.pending is None]
        if not found or (not decided and self._options.update is None):
            return "gates were asked for, and none was decided"
        if self._options.npu is not None and all(result.platform == "cpu" for result in found):
            return "--npu was given, and no gate ran on an NPU: hand npu_device to guard.check(device=...)"
        return None


def _came_to_its_end(report: pytest.TestReport) -> bool:
    """Tell whether a gate did all it does: one that waits for an NPU is of a platform that this run is not about."""
    if report.skipped:
        return NEEDS_NPU in str(report.longrepr)
    return report.when == "call" and report.passed


def _end_of(session: pytest.Session) -> str:
    """Say why the run ended where it did not come to its end."""
    return str(session.shouldfail or session.shouldstop or "it was broken off")


_COLOURS = {
    "MEASURED": "cyan",
    "PASS": "green",
    "INCONCLUSIVE": "yellow",
    "UNSTABLE": "purple",
    "REGRESSED": "red",
    "ERROR": "red",
    "SKIPPED": "yellow",
    "NOT RUN": "red",
}
