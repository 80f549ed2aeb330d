"""A device is one file: everything that depends on the type of a device asks that."""

import sys
import types

import pytest

import quantguard
from quantguard import devices
from quantguard.errors import KernelError, UnknownNameError
from quantguard.kernels import choose_backend
from quantguard.records import QuantArgs

CHANNEL8 = QuantArgs(num_bits=8, strategy="channel")


def test_one_device_stands_in_for_an_npu_and_is_known_by_its_platform() -> None:
    name = devices.emulated_device()
    assert devices.members[name].platform() == name
    assert devices.is_emulated(name)
    assert not devices.is_emulated("cpu")
    assert not devices.is_emulated("ascend-910b")


def test_a_device_with_an_index_is_of_its_type() -> None:
    assert devices.find("npu:3") is devices.members["npu"]


def test_an_unknown_device_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown device 'cuda'.*Available: cpu, emulated-910b, npu"):
        quantguard.load("tiny-reasoner", device="cuda:0")


def test_a_new_device_is_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = types.ModuleType("fresh_device")
    vars(fresh).update(vars(devices.members["cpu"]))
    vars(fresh).update(DTYPE="bfloat16", BACKENDS=("reference",), NAMED_BACKENDS=(), platform=lambda: "fresh")
    monkeypatch.setitem(sys.modules, "fresh_device", fresh)
    monkeypatch.setitem(vars(devices.members), "sources", {**devices.members.sources, "fresh": "fresh_device"})
    assert choose_backend("int8_linear", CHANNEL8, requested="auto", device_type="fresh") == "reference"
    with pytest.raises(KernelError, match="it runs on cpu or emulated-910b: load the model with device="):
        choose_backend("int8_linear", CHANNEL8, requested="cpu", device_type="fresh")
    assert devices.find("fresh:1").platform() == "fresh"
