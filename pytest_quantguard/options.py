"""The command-line options, and what they come to."""

import argparse
import dataclasses
import os
import pathlib
from typing import Any

import pytest

from pytest_quantguard import devices

GROUP = "quantguard"
_REAL, EMULATED = "required", "emulated"
# Where quantguard.benchmarks looks for files; importing it here would slow down every run of pytest.
DATA_VARIABLE = "QUANTGUARD_DATA"
# What quantguard.sandbox is told by.
UNSAFE_VARIABLE = "QUANTGUARD_UNSAFE_EXEC"


def add_options(parser: pytest.Parser) -> None:
    """Register every option of the plugin."""
    group = parser.getgroup(GROUP, "accuracy and latency gates for quantized models")
    group.addoption("--quantguard", action="store_true", help="run the gates, and only the gates")
    group.addoption(
        "--npu",
        nargs="?",
        const=_REAL,
        type=_npu_kind,
        metavar="required|emulated",
        help="require a real Ascend NPU: none found is an error, never a skip; with -n one worker takes one NPU;"
        " --npu=emulated runs an Atlas A2's documented arithmetic on the CPU, and verdicts say so",
    )
    _add_data(group)
    _add_unsafe(group)
    _add_wait(group)
    _add_baselines(group)
    _add_running(group)
    parser.addini(
        "quantguard_keep_baselines",
        type="linelist",
        help="patterns of files below the baselines' folder, such as cpu/*/w3a16/*, that gates outside of the suite"
        " use: a run of the whole suite does not call them unused",
    )


def _add_baselines(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--quantguard-update",
        choices=("new", "changed", "all"),
        help="measure baselines instead of judging: missing ones (new), missing or no longer valid ones (changed), all",
    )
    group.addoption(
        "--quantguard-accept-regression",
        metavar="REASON",
        help="with --quantguard-update: accept baselines that are worse than tolerated; the reason is kept in the file",
    )
    group.addoption(
        "--quantguard-baselines",
        metavar="DIR",
        help="where baselines are kept (default: baselines/ in the root folder)",
    )


def _add_running(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--quantguard-fresh",
        action="store_true",
        help="measure anew what an earlier run that was broken off has answered, and full precision too, and judge"
        " without earlier runs that did not pass",
    )
    group.addoption(
        "--quantguard-limit", type=_positive, metavar="N", help="run only the first N items of each baseline"
    )
    group.addoption("--quantguard-seed", type=int, default=0, metavar="N", help="seed of sampled decoding (default: 0)")
    group.addoption(
        "--quantguard-plan",
        action="store_true",
        help="run nothing: say for every gate what it can decide, on how many items and tokens; one that cannot fails",
    )
    group.addoption(
        "--quantguard-early-stop",
        choices=("group-sequential", "betting", "off"),
        default="group-sequential",
        help="how accuracy gates end as soon as their verdict is clear (default: group-sequential)",
    )
    group.addoption(
        "--quantguard-inconclusive",
        choices=("warn", "fail"),
        default="fail",
        help="what an undecided gate does to its test (default: fail)",
    )
    group.addoption(
        "--quantguard-report",
        metavar="DIR",
        help="write every record and verdict there: report.html, summary.md, results.json",
    )
    group.addoption(
        "--quantguard-threads",
        type=_positive,
        default=1,
        metavar="N",
        help="torch threads of a gate on a CPU (default: 1)",
    )


def _add_data(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--quantguard-data",
        metavar="DIR",
        help=f"the folder of benchmark files that the package does not carry (default: {DATA_VARIABLE})",
    )


def _add_unsafe(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--quantguard-unsafe-exec",
        action="store_true",
        help="run programs that a model wrote without a sandbox, within limits of time and memory alone: they can read"
        " and change whatever you can",
    )


def _add_wait(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--quantguard-wait",
        type=_positive,
        default=devices.WAIT_SECONDS,
        metavar="SECONDS",
        help="how long to wait for an NPU, or to time anything, while another pytest run does; then it is an error"
        f" (default: {devices.WAIT_SECONDS})",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number above 0 is wanted, not {text!r}")
    return int(text)


def _npu_kind(text: str) -> str:
    """Return what kind of NPU is meant; an option whose value may be left out takes what follows for it."""
    if text in (_REAL, EMULATED):
        return text
    raise argparse.ArgumentTypeError(
        f"it took {text!r} for its value, and possible are {_REAL} and {EMULATED}. Where that is a path, type it"
        f" first, pytest {text} --npu, or write --npu={_REAL} {text}"
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one run."""

    enabled: bool
    npu: str | None
    update: Any
    accepted_regression: str | None
    baselines: pathlib.Path
    kept_baselines: tuple[str, ...]
    limit: int | None
    seed: int
    inconclusive: Any
    early_stop: Any
    plan: bool
    report: pathlib.Path | None
    threads: int
    fresh: bool


def read_options(config: pytest.Config) -> Options:
    """Collect the options; raise pytest.UsageError for those that contradict each other or cannot be met."""
    update, reason = config.getoption("--quantguard-update"), config.getoption("--quantguard-accept-regression")
    enabled = bool(config.getoption("--quantguard"))
    if reason is not None and (update is None or not reason.strip()):
        raise pytest.UsageError("--quantguard-accept-regression takes a reason, and goes with --quantguard-update")
    if reason is not None and os.path.lexists(reason):
        raise pytest.UsageError(
            f"--quantguard-accept-regression took {reason!r} for the reason, which is a path: write it as"
            f' --quantguard-accept-regression="why a worse result is meant" {reason}'
        )
    if update is not None and not enabled:
        raise pytest.UsageError("--quantguard-update measures the gates: give --quantguard with it")
    if config.getoption("--quantguard-plan") and (update is not None or not enabled):
        raise pytest.UsageError(
            "--quantguard-plan plans what would be judged: give --quantguard with it, and no update"
        )
    if update is not None and os.environ.get("CI"):
        raise pytest.UsageError(
            "--quantguard-update does not run under CI (the environment sets CI): what is measured is not judged, so"
            " it would always be green. Update on a machine of yours and commit the files, or unset CI"
        )
    if update is not None and config.getoption("--quantguard-limit") is not None:
        raise pytest.UsageError("--quantguard-update measures whole baselines: leave --quantguard-limit out")
    npu = config.getoption("--npu")
    _require_npu(config, npu)
    folder = config.getoption("--quantguard-baselines")
    report = config.getoption("--quantguard-report")
    return Options(
        enabled=enabled,
        npu=npu,
        update=update,
        accepted_regression=reason,
        baselines=pathlib.Path(folder) if folder else config.rootpath / "baselines",
        kept_baselines=tuple(config.getini("quantguard_keep_baselines")),
        limit=config.getoption("--quantguard-limit"),
        seed=config.getoption("--quantguard-seed"),
        inconclusive=config.getoption("--quantguard-inconclusive"),
        early_stop=config.getoption("--quantguard-early-stop"),
        plan=config.getoption("--quantguard-plan"),
        report=pathlib.Path(report) if report else None,
        threads=config.getoption("--quantguard-threads"),
        fresh=config.getoption("--quantguard-fresh"),
    )


def name_data_folder(config: pytest.Config) -> None:
    """Let benchmarks look for their files in the folder that was given, as long as this run of pytest lasts."""
    given = config.getoption("--quantguard-data")
    if given is None:
        return
    folder = pathlib.Path(given).absolute()
    if not folder.is_dir():
        raise pytest.UsageError(f"--quantguard-data {given}: there is no folder {folder}")
    _set_variable(config, DATA_VARIABLE, str(folder))


def allow_unsafe_exec(config: pytest.Config) -> None:
    """Let programs that a model wrote run without a sandbox where that was asked for, as long as this run lasts."""
    if config.getoption("--quantguard-unsafe-exec"):
        _set_variable(config, UNSAFE_VARIABLE, "1")


def _set_variable(config: pytest.Config, name: str, value: str) -> None:
    """Set a variable of the environment until this run of pytest ends."""
    before = os.environ.get(name)
    os.environ[name] = value

    def restore() -> None:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before

    config.add_cleanup(restore)


def _require_npu(config: pytest.Config, npu: str | None) -> None:
    """Raise pytest.UsageError where an NPU is asked for and none can be used."""
    if npu == _REAL:
        devices.require(config)
