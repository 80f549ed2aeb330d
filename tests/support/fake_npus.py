"""Planted NPUs: a torch and a torch_npu of a few lines, found before the real ones by Python started afresh."""

import os
import pathlib
import textwrap

import pytest

FAKE_TORCH = """
import os

class _Sum:
    def __init__(self, value): self.value = value
    def sum(self): return self
    def item(self): return self.value

def ones(count, *, device):
    assert device.startswith("npu:"), device
    if "FAKE_NPU_BROKEN" in os.environ:
        raise RuntimeError("Failed to find function aclrtSetDeviceSatMode")
    return _Sum(count + int(os.environ.get("FAKE_NPU_WRONG", "0")))
"""
FAKE_TORCH_NPU = """
import os, types
import torch

number, listed = int(os.environ.get("FAKE_NPUS", "2")), os.environ.get("ASCEND_RT_VISIBLE_DEVICES")
ids = range(number) if listed is None else [int(id_) for id_ in listed.split(",") if int(id_) < number]
torch.npu = types.SimpleNamespace(is_available=lambda: len(ids) > 0, device_count=lambda: len(ids), ids=list(ids))
"""


class Machine:
    """A machine with as many NPUs as are planted, and a runtime folder of its own for the leases."""

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._packages, self._monkeypatch = folder / "packages", monkeypatch
        (folder / "run").mkdir(mode=0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
        monkeypatch.setenv("PYTHONPATH", str(self._packages), prepend=os.pathsep)
        for inherited in ("ASCEND_RT_VISIBLE_DEVICES", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
            monkeypatch.delenv(inherited, raising=False)
        self.plant("torch", FAKE_TORCH)
        self.plant("torch_npu", FAKE_TORCH_NPU)
        self.have(2)

    def plant(self, package: str, text: str) -> None:
        path = self._packages / package / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def have(self, number: int) -> None:
        self._monkeypatch.setenv("FAKE_NPUS", str(number))

    def break_computing(self) -> None:
        self._monkeypatch.setenv("FAKE_NPU_BROKEN", "1")
