"""The command-line options, and what they come to."""

import dataclasses
import importlib.util
import os
import pathlib
from typing import Any

import pytest

GROUP = "quantguard"


def add_options(parser: pytest.Parser) -> None:
    """Register every option of the plugin."""
    group = parser.getgroup(GROUP, "accuracy and latency gates for quantized models")
    group.addoption("--quantguard", action="store_true", help="run the gates, and only the gates")
    group.addoption(
        "--npu",
        nargs="?",
        const="required",
        choices=("required", "emulated"),
        help="require a real Ascend NPU: none found is an error, never a skip; --npu=emulated runs an Atlas A2's"
        " documented arithmetic on the CPU, and verdicts say so",
    )
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
    group.addoption(
        "--quantguard-limit", type=_positive, metavar="N", help="run only the first N items of each baseline"
    )
    group.addoption("--quantguard-seed", type=int, default=0, metavar="N", help="seed of sampled decoding (default: 0)")
    group.addoption(
        "--quantguard-inconclusive",
        choices=("warn", "fail"),
        default="fail",
        help="what an undecided gate does to its test (default: fail)",
    )
    group.addoption(
        "--quantguard-report", metavar="DIR", help="write every record and verdict there, as JSON and Markdown"
    )
    group.addoption(
        "--quantguard-threads",
        type=_positive,
        default=1,
        metavar="N",
        help="torch threads of a gate on a CPU (default: 1)",
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one run."""

    enabled: bool
    npu: str | None
    update: Any
    accepted_regression: str | None
    baselines: pathlib.Path
    limit: int | None
    seed: int
    inconclusive: str
    report: pathlib.Path | None
    threads: int


def read_options(config: pytest.Config) -> Options:
    """Collect the options; raise pytest.UsageError for those that contradict each other or cannot be met."""
    update, reason = config.getoption("--quantguard-update"), config.getoption("--quantguard-accept-regression")
    enabled = bool(config.getoption("--quantguard"))
    if reason is not None and (update is None or not reason.strip()):
        raise pytest.UsageError("--quantguard-accept-regression takes a reason, and goes with --quantguard-update")
    if update is not None and not enabled:
        raise pytest.UsageError("--quantguard-update measures the gates: give --quantguard with it")
    if update is not None and os.environ.get("CI"):
        raise pytest.UsageError(
            "--quantguard-update does not run under CI (the environment sets CI): what is measured is not judged, so"
            " it would always be green. Update on a machine of yours and commit the files, or unset CI"
        )
    if update is not None and config.getoption("--quantguard-limit") is not None:
        raise pytest.UsageError("--quantguard-update measures whole baselines: leave --quantguard-limit out")
    npu = config.getoption("--npu")
    _require_npu(npu)
    folder = config.getoption("--quantguard-baselines")
    report = config.getoption("--quantguard-report")
    return Options(
        enabled=enabled,
        npu=npu,
        update=update,
        accepted_regression=reason,
        baselines=pathlib.Path(folder) if folder else config.rootpath / "baselines",
        limit=config.getoption("--quantguard-limit"),
        seed=config.getoption("--quantguard-seed"),
        inconclusive=config.getoption("--quantguard-inconclusive"),
        report=pathlib.Path(report) if report else None,
        threads=config.getoption("--quantguard-threads"),
    )


def _require_npu(npu: str | None) -> None:
    """Raise pytest.UsageError where an NPU is asked for and none can be used."""
    if npu is None:
        return
    if npu == "emulated":
        return
    if importlib.util.find_spec("torch_npu") is None:
        raise pytest.UsageError(
            "--npu: no Ascend NPU can be used, since torch_npu is not installed. Install CANN and the torch_npu that"
            " fits this torch, or run without --npu for the CPU"
        )
    from quantguard.errors import KernelError  # noqa: PLC0415
    from quantguard.kernels.ascend import device  # noqa: PLC0415 - imports torch

    try:
        device.require()
    except KernelError as error:
        raise pytest.UsageError(f"--npu: {error}") from error
