"""Shared parts of the vendor's contract: the genuine torch_npu, and calls that go past our own checks."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch

from quantguard.kernels.ascend import cache_checks, checks, rotation_checks, vendor

REASON = "needs the genuine torch_npu with stubbed drivers: run nox -s vendor_contract"


def genuine() -> Any:
    """Return torch_npu, or skip the module; where nothing may be skipped, fail as the import does."""
    if os.environ.get("QUANTGUARD_NO_SKIPS"):
        return importlib.import_module("torch_npu")
    return pytest.importorskip("torch_npu", reason=REASON, exc_type=ImportError)


@contextlib.contextmanager
def without_our_checks() -> Iterator[None]:
    """Let wrong calls through to the vendor."""
    with contextlib.ExitStack() as stack:
        for module in (cache_checks, checks, rotation_checks, vendor):
            stack.enter_context(mock.patch.object(module, "need", return_value=None))
        yield


def placed(value: Any, device: str) -> Any:
    """Put every tensor within a value on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(placed(entry, device) for entry in value)
    return {name: placed(entry, device) for name, entry in value.items()} if isinstance(value, dict) else value


def shapes(value: Any) -> Any:
    """Return shapes and types of the tensors in a value, as JSON values."""
    if isinstance(value, torch.Tensor):
        return [str(value.dtype).removeprefix("torch."), list(value.shape)]
    return [shapes(entry) for entry in value] if isinstance(value, (tuple, list)) else value
