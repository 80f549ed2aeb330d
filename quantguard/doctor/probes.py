"""Probes of modules, backends and benchmarks, which may break the Python that they run in.

Each is called in an interpreter of its own: see ``quantguard.host.fresh_interpreter``.
"""

import importlib
from typing import Any

from quantguard import benchmarks, kernels
from quantguard.kernels.dispatch import REFERENCE
from quantguard.records import Finding, to_json


def importable(module: str) -> None:
    """Import a module."""
    importlib.import_module(module)


def backend(name: str) -> dict[str, Any]:
    """Examine a backend: return what it says is missing or, if nothing is, what its trial showed."""
    member = None if name == REFERENCE else kernels.members[name]
    if member is not None and (lacks := member.missing()):
        return _finding(Finding(name=name, lacks=tuple(lacks)))
    from quantguard.doctor import trial  # noqa: PLC0415 - imports torch

    device = "cpu" if member is None else member.trial_device()
    if device is None:
        return _finding(Finding(name=name, note="not tried: other runs hold every device"))
    return _finding(Finding(name=name, lacks=tuple(trial.run(name, device=device))))


def benchmark(name: str) -> dict[str, Any]:
    """Examine a benchmark: return what it says is missing or, if nothing is, the number of its items."""
    downloaded = benchmarks.members.able(name, benchmarks.Downloaded)
    lacks = [] if downloaded is None else downloaded.missing()
    if lacks:
        return _finding(Finding(name=name, lacks=tuple(lacks)))
    return _finding(Finding(name=name, note=f"items: {len(benchmarks.members[name].load().samples)}"))


def _finding(finding: Finding) -> dict[str, Any]:
    table: dict[str, Any] = to_json(finding)
    return table
