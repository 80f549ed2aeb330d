"""The kernel backends: a package each, beside the contracts of the operations."""

from typing import Protocol

from quantguard import devices
from quantguard.records import MissingRequirement
from quantguard.registry import Registry


class Backend(Protocol):
    """What a backend's package has; its operations lie beside that."""

    def missing(self) -> list[MissingRequirement]:
        """Name what stands in the way of running on it here."""

    def trial_device(self) -> str | None:
        """Return the device to try it on; None where other runs hold them all."""


class Emulating(Protocol):
    """A backend whose operations can be emulated on another device than its own."""

    def emulate(self) -> None:
        """Put the emulated operations in place."""


members = Registry("kernels", Backend, kind="kernel backend", abilities=[Emulating], packages_only=True)


def torch_device(device: str) -> str:
    """Return what torch calls a device such as ``npu:0``, its operations put in place where they are emulated."""
    found = devices.find(device)
    if not found.IS_EMULATED:
        return device
    for backend in found.BACKENDS:
        members.require(backend, Emulating).emulate()
    return found.TORCH_TYPE
