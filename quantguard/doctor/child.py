"""What runs in a Python of its own, and may do anything to it; see ``quantguard.host.interpreter``."""

import importlib
import importlib.util
from typing import Any

from quantguard import benchmarks
from quantguard.kernels.dispatch import REFERENCE
from quantguard.records import Finding, to_json


def importable(module: str) -> None:
    """Import a module."""
    importlib.import_module(module)


def backend(name: str) -> dict[str, Any]:
    """Return the finding on a backend: what it says is missing, or else what a trial of it showed."""
    hook = f"quantguard.kernels.{name}.doctor"
    module = importlib.import_module(hook) if name != REFERENCE and importlib.util.find_spec(hook) else None
    lacks = module.missing() if module is not None else []
    if lacks:
        return _finding(Finding(name=name, lacks=tuple(lacks)))
    from quantguard.doctor import trial  # noqa: PLC0415 - imports torch

    device = module.trial_device() if module is not None and hasattr(module, "trial_device") else "cpu"
    if device is None:
        return _finding(Finding(name=name, note="not tried: other runs hold every device"))
    return _finding(Finding(name=name, lacks=tuple(trial.run(name, device=device))))


def benchmark(name: str) -> dict[str, Any]:
    """Return the finding on a benchmark: what it says is missing, or else nothing once its items are read."""
    downloaded = benchmarks.members.able(name, benchmarks.Downloaded)
    lacks = [] if downloaded is None else downloaded.missing()
    if lacks:
        return _finding(Finding(name=name, lacks=tuple(lacks)))
    return _finding(Finding(name=name, note=f"items: {len(benchmarks.members[name].load().samples)}"))


def _finding(finding: Finding) -> dict[str, Any]:
    table: dict[str, Any] = to_json(finding)
    return table
