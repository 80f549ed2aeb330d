"""Where these tests can run: anywhere else they are skipped with the reason, and in ``nox -s triton`` they fail."""

import importlib.util
import os
from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def needs(request: pytest.FixtureRequest) -> None:
    """Skip a test marked for the interpreter or the compiler where that is not what this process has."""
    missing = [name for name in ("triton.backends.ascend", "ascendnpuir", "pybind11") if not _installed(name)]
    interpreting = os.environ.get("TRITON_INTERPRET") == "1"
    reason = None
    if missing:
        reason = f"needs {', '.join(missing)}: nox -s triton"
    elif request.module.NEEDS == "interpreter" and not interpreting:
        reason = "runs in Triton's interpreter: nox -s triton, or TRITON_INTERPRET=1"
    elif request.module.NEEDS == "compiler" and interpreting:
        reason = "compiles kernels, which Triton does not where TRITON_INTERPRET=1 is set: nox -s triton"
    if reason is not None:
        (pytest.fail if os.environ.get("QUANTGUARD_NOX") else pytest.skip)(reason)


@pytest.fixture(autouse=True)
def poison_empty_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill what torch.empty returns, so that a value read before it is written shows."""
    empty = torch.empty

    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = empty(*args, **kwargs)
        return tensor.fill_(float("nan") if tensor.is_floating_point() else 77)

    monkeypatch.setattr(torch, "empty", poisoned)


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
