"""Probes of modules, backends and benchmarks, which may break the Python that they run in.

Each is called in an interpreter of its own: see ``quantguard.host.fresh_interpreter``.
"""

import importlib
import importlib.util
from typing import Any

from quantguard import registry
from quantguard.kernels.dispatch import REFERENCE
from quantguard.records import Finding, to_json


def importable(module: str) -> None:
    """Import a module."""
    importlib.import_module(module)


def backend(name: str) -> dict[str, Any]:
    """Examine a backend: return what it says is missing or, if nothing is, what its trial showed."""
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
    """Examine a benchmark: return what it says is missing or, if nothing is, the number of its items."""
    module = registry.benchmarks[name]
    lacks = module.missing() if hasattr(module, "missing") else []
    if lacks:
        return _finding(Finding(name=name, lacks=tuple(lacks)))
    return _finding(Finding(name=name, note=f"items: {len(module.load().samples)}"))


def _finding(finding: Finding) -> dict[str, Any]:
    table: dict[str, Any] = to_json(finding)
    return table
