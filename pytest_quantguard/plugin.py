"""The hooks, and nothing else: what they do is in the modules beside this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_quantguard import (
    completeness,
    declared,
    devices,
    enforcement,
    fixtures,
    markers,
    options,
    planning,
    preflight,
    result_log,
    run_errors,
)
from pytest_quantguard.fixtures import guard, npu_device
from pytest_quantguard.interrupt_notice import InterruptNotice

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Generator

__all__ = ["guard", "npu_device"]
_NUM_DESELECTED = pytest.StashKey[int]()
_WORKER_KEY = "quantguard_deselected"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, register the markers and, outside xdist's workers, the collector of results."""
    chosen = options.read_options(config)
    preflight.require_writable(config, chosen)
    options.name_data_folder(config, chosen)
    options.allow_unsafe_exec(config, chosen)
    config.stash[fixtures.OPTIONS] = chosen
    config.addinivalue_line("markers", markers.REGISTRATION)
    if chosen.enabled:
        from pytest_quantguard.baseline_writer import BaselineWriter, WorkerBaselines  # noqa: PLC0415
        from pytest_quantguard.collecting import Collector  # noqa: PLC0415 - an unrelated run does not pay for it

        declared.add_root_files(config)
        run_errors.register(config)
        config.pluginmanager.register(result_log.result_log_of(config), "quantguard-result-log")
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(InterruptNotice(config), "quantguard-interrupt-notice")
        writer = BaselineWriter.of(config, inconclusive=chosen.inconclusive)
        collector = WorkerBaselines(writer) if hasattr(config, "workerinput") else Collector(chosen, writer)
        config.pluginmanager.register(collector, "quantguard-collector")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Drop the answers that were kept while the gates ran, unless they were broken off; tell what no report told."""
    result_log.hand_over(session.config)
    if exitstatus not in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
        fixtures.settle(session.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give back the NPUs that this process holds."""
    devices.release(config)


# Before xdist's own answer, the number of CPUs: which of two plugins is asked first depends on how they are installed.
@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Let ``-n auto`` be one worker for each NPU, where NPUs are asked for."""
    return devices.num_workers(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Give each worker an NPU of its own before it starts, where NPUs are asked for."""
    devices.share_out(config, specs)


def pytest_collect_file(file_path: pathlib.Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the gates that stand in a file, where gates are asked for."""
    return declared.collect(file_path, parent) if parent.config.stash[fixtures.OPTIONS].enabled else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the gates or the other tests, never both."""
    gates = {item for item in items if markers.is_gate(item)}
    enabled = config.stash[fixtures.OPTIONS].enabled
    dropped = [item for item in items if (item in gates) != enabled]
    if dropped:
        items[:] = [item for item in items if (item in gates) == enabled]
        config.hook.pytest_deselected(items=dropped)
    if config.stash[fixtures.OPTIONS].update is not None:
        items.sort(key=markers.measuring_order)
    if not enabled:
        config.stash[_NUM_DESELECTED] = len(dropped)
        if hasattr(config, "workeroutput"):
            config.workeroutput[_WORKER_KEY] = len(dropped)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note that a selection left gates out."""
    if items and items[0].config.stash[fixtures.OPTIONS].enabled:
        completeness.note_deselected(items[0].config, items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which gates are to run."""
    if session.config.stash[fixtures.OPTIONS].enabled:
        completeness.note_collected(session.config, session.items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over from an xdist worker how many gates it deselected and which it collected; each collects them all."""
    completeness.take_over(node.config, node)
    node.config.stash[_NUM_DESELECTED] = getattr(node, "workeroutput", {}).get(_WORKER_KEY, 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say that gates were left out, where they were."""
    if count := config.stash.get(_NUM_DESELECTED, 0):
        terminalreporter.write_line(f"quantguard: {count} gates were not run; run them with pytest --quantguard")
    declared.show_left_out(terminalreporter, config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note that a test begins, or begins again."""
    if markers.is_gate(item):
        result_log.result_log_of(item.config).begin(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a gate that measured nothing."""
    yield
    if markers.is_gate(item):
        fixtures.require_measured(item)


# Around all others, so that what they make of a report is known.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Send the results along with the report of the phase in which they came about, and hold it to them."""
    if not markers.is_gate(item):
        return (yield)
    enforcement.note_exception(item, call)
    report = yield
    if plans := planning.take_plans(item):
        vars(report)[planning.REPORT_ATTRIBUTE] = plans
    enforcement.hold_to_verdicts(item, report)
    return report
