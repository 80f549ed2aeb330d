"""What models run on: all that a type of device is. Nothing here imports torch before it measures."""

from collections.abc import Callable, Sequence
from typing import Protocol

from quantguard.registry import Registry

__all__ = ["Device", "device_type", "emulated_device", "find", "is_emulated", "members"]


class Device(Protocol):
    """What a type of device has; its file's name is what people type, with an index where there are several."""

    @property
    def TORCH_TYPE(self) -> str:
        """What torch calls it."""

    @property
    def IS_EMULATED(self) -> bool:
        """Whether its kernels' arithmetic is emulated on another device, whose time and memory are not its own."""

    @property
    def DTYPE(self) -> str | None:
        """The floating-point type that models of the catalogue run in here; None for each one's own."""

    @property
    def BACKENDS(self) -> tuple[str, ...]:
        """The kernel backends that ``auto`` tries, best first."""

    @property
    def NAMED_BACKENDS(self) -> tuple[str, ...]:
        """The other kernel backends that run here where they are asked for by name."""

    @property
    def COUNTED(self) -> str:
        """What is counted as memory beside the weights, in words."""

    def platform(self) -> str:
        """Return what runs are compared on; raise UsageError where this machine does not say."""

    def peaks(self, name: str, works: Sequence[Callable[[], object]]) -> list[int]:
        """Run pieces of work on the device ``name``; return by how many bytes each one's peak was above the start."""


members = Registry("devices", Device, kind="device")


def device_type(device: str) -> str:
    """Return the type of a device such as ``npu:0``."""
    return device.partition(":")[0]


def find(device: str) -> Device:
    """Return what a device such as ``npu:0`` is; raise UnknownNameError for a type that nobody has."""
    return members[device_type(device)]


def is_emulated(platform: str) -> bool:
    """Tell whether a platform is that of an emulated device."""
    return platform in members and members[platform].IS_EMULATED


def emulated_device() -> str:
    """Return the name of the device that stands in for an NPU."""
    return next(name for name, device in members.items() if device.IS_EMULATED)
