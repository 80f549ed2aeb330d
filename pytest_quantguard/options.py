"""The command-line options, and what they come to."""

import os

import pytest

from pytest_quantguard import devices
from quantguard.run_options import DATA_VARIABLE, REAL_NPU, Option, RunOptions, from_typed, options

GROUP = "quantguard"
# What quantguard.sandbox is told by.
UNSAFE_VARIABLE = "QUANTGUARD_UNSAFE_EXEC"


def add_options(parser: pytest.Parser) -> None:
    """Register every option of the plugin."""
    group = parser.getgroup(GROUP, "accuracy and latency gates for quantized models")
    for option in options():
        group.addoption(_flag(option), **option.arguments)
    parser.addini(
        "quantguard_keep_baselines",
        type="linelist",
        help="patterns of files below the baselines' folder, such as cpu/*/w3a16/*, that gates outside of the suite"
        " use: a run of the whole suite does not call them unused",
    )


def _flag(option: Option) -> str:
    return f"--{GROUP}-{option.flag}" if option.prefixed else f"--{option.flag}"


def read_options(config: pytest.Config) -> RunOptions:
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
    given = {option.name: config.getoption(_flag(option)) for option in options()}
    _require_npu(config, given["npu"])
    kept = tuple(config.getini("quantguard_keep_baselines"))
    return from_typed(given, root=config.rootpath, kept_baselines=kept)


def name_data_folder(config: pytest.Config, chosen: RunOptions) -> None:
    """Let benchmarks look for their files in the folder that was given, as long as this run of pytest lasts."""
    if chosen.data is None:
        return
    folder = chosen.data.absolute()
    if not folder.is_dir():
        raise pytest.UsageError(f"--quantguard-data {chosen.data}: there is no folder {folder}")
    _set_variable(config, DATA_VARIABLE, str(folder))


def allow_unsafe_exec(config: pytest.Config, chosen: RunOptions) -> None:
    """Let programs that a model wrote run without a sandbox where that was asked for, as long as this run lasts."""
    if chosen.unsafe_exec:
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
    if npu == REAL_NPU:
        devices.require(config)
