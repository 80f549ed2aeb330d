"""What a process of a run has to itself: its NPU, settled before torch_npu can load, and the machine while it times.

The runtime reads ``ASCEND_RT_VISIBLE_DEVICES`` when it starts, so a worker has it in its environment from its first
line on, by xdist's specification of the worker. A replaced worker inherits the specification, and the NPU with it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantguard.host.leases import Leases

# What -m knows tests with a latency gate by.
LATENCY = "quantguard_gate(kind='latency')"
_REAL = "required"
_LEASES = pytest.StashKey["Leases"]()
_IDS = pytest.StashKey[tuple[int, ...]]()


def require(config: pytest.Config) -> None:
    """Find the NPUs that this run may use; raise pytest.UsageError where there is none that works.

    The workers of xdist leave that to the process that starts them.
    """
    if not hasattr(config, "workerinput"):
        _ids(config)


def num_workers(config: pytest.Config) -> int | None:
    """Return the number of NPUs where real ones are asked for and nothing else says how many workers there are."""
    if config.getoption("--npu") != _REAL or os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    return len(_ids(config))


def share_out(config: pytest.Config, specs: list[Any]) -> None:
    """Write an NPU into the environment of each worker-to-be; raise pytest.UsageError where they are too few."""
    if config.getoption("--npu") != _REAL:
        return
    from quantguard.host import visible_npus  # noqa: PLC0415

    ids = _ids(config)
    if len(specs) > len(ids):
        named = ", ".join(map(str, ids))
        raise pytest.UsageError(
            f"--npu: {len(specs)} workers are asked for, and there {'is' if len(ids) == 1 else 'are'} {len(ids)}"
            f" NPU{'s' * (len(ids) > 1)} to use ({named}); one worker takes one NPU. Type: -n {len(ids)}, or -n auto"
        )
    for spec, device_id in zip(specs, ids, strict=False):
        if not spec.popen:
            raise pytest.UsageError(f"--npu: NPUs are shared out among workers of this machine only, not to {spec}")
        spec.env[visible_npus.VARIABLE] = str(device_id)


def hold(config: pytest.Config, device: str) -> None:
    """Lease the NPU that goes by ``npu`` or ``npu:<index>`` in this process, until it ends; other devices are free.

    Raises LeaseError where another process has it for longer than this run waits.
    """
    found = re.fullmatch(r"npu(?::(\d+))?", device)
    if found is None:
        return
    from quantguard.host import visible_npus  # noqa: PLC0415
    from quantguard.host.leases import npu  # noqa: PLC0415

    _leases(config).hold(npu(visible_npus.physical_id(int(found[1] or 0), os.environ)))


@contextlib.contextmanager
def timing_alone(config: pytest.Config) -> Iterator[None]:
    """Hold the timing of this machine, so that no other run times anything meanwhile.

    Raises UsageError among several workers of pytest-xdist, whose other tests would be timed along with the model, and
    LeaseError where another run holds it for longer than this one waits.
    """
    from quantguard.errors import UsageError  # noqa: PLC0415
    from quantguard.host.leases import TIMING  # noqa: PLC0415

    num_workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if num_workers > 1:
        raise UsageError(
            f"{num_workers} workers of pytest-xdist share this machine, and what they run would be timed along with"
            f' the model. Run the latency gates apart: pytest --quantguard -n 0 -m "{LATENCY}", and the others with'
            f' pytest --quantguard -n {num_workers} -m "not {LATENCY}"'
        )
    with _leases(config).holding(TIMING):
        yield


def release(config: pytest.Config) -> None:
    """Give back what this process holds."""
    if _LEASES in config.stash:
        config.stash[_LEASES].release()


def _ids(config: pytest.Config) -> tuple[int, ...]:
    """Return the NPUs to use, looked for once, in another process: this one may only start workers."""
    if _IDS not in config.stash:
        from quantguard.errors import UsageError  # noqa: PLC0415
        from quantguard.host import fresh_interpreter, visible_npus  # noqa: PLC0415

        if importlib.util.find_spec("torch_npu") is None:
            raise pytest.UsageError(
                "--npu: no Ascend NPU can be used, since torch_npu is not installed. Install CANN and the torch_npu"
                " that fits this torch, or run without --npu for the CPU; see quantguard doctor --backend ascend"
            )
        try:
            visible_npus.visible_ids(os.environ)
        except UsageError as error:
            raise pytest.UsageError(f"--npu: {error}") from error
        answer = fresh_interpreter.call("quantguard.kernels.ascend.device:probe")
        if answer.failure is not None:
            raise pytest.UsageError(f"--npu: {answer.failure}; see quantguard doctor --backend ascend")
        config.stash[_IDS] = tuple(answer.value)
    return config.stash[_IDS]


def _leases(config: pytest.Config) -> Leases:
    from quantguard.host.leases import Leases  # noqa: PLC0415 - only runs that hold something pay for it

    if _LEASES not in config.stash:
        worker: dict[str, Any] = getattr(config, "workerinput", {})
        config.stash[_LEASES] = Leases(
            command=_command(worker.get("mainargv", sys.argv)),
            run=worker.get("testrunuid"),
            wait_seconds=config.getoption("--quantguard-wait"),
            announce=lambda text: _say(config, text),
        )
    return config.stash[_LEASES]


def _command(argv: list[str]) -> str:
    return shlex.join(argv)


def _say(config: pytest.Config, text: str) -> None:
    """Write a line to the terminal now, past pytest's capturing, from a worker too."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with contextlib.nullcontext() if capture is None else capture.global_and_fixture_disabled():
        sys.stderr.write(f"\nquantguard: {text}\n")
        sys.stderr.flush()
