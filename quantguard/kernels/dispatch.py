"""Choosing a backend by name, and an op's body within it."""

import importlib
import pathlib
import types

from quantguard import devices
from quantguard.errors import KernelError, UnknownNameError
from quantguard.kernels.backend import members
from quantguard.records import QuantArgs

REFERENCE = "reference"
AUTO = "auto"
_FOLDER = pathlib.Path(__file__).parent


def backends() -> list[str]:
    """List the backends: the reference and every package beside this module."""
    return [REFERENCE, *members]


def resolve(op: str, backend: str) -> types.ModuleType:
    """Return the module that implements ``op`` on ``backend``.

    Raises UnknownNameError for a backend that does not exist and KernelError where it does not have the op.
    """
    if backend not in backends():
        raise UnknownNameError("kernel backend", backend, [AUTO, *backends()])
    if not (_FOLDER / _relative(op, backend)).is_file():
        having = [name for name in backends() if (_FOLDER / _relative(op, name)).is_file()]
        raise KernelError(f"the {backend!r} backend has no {op}; it runs on: {', '.join(having)}. Use backend='auto'?")
    prefix = "" if backend == REFERENCE else f"{backend}."
    return importlib.import_module(f"quantguard.kernels.{prefix}{op}")


def choose_backend(op: str, weights: QuantArgs, *, requested: str, device_type: str) -> str:
    """Return the backend to run ``op`` with such weights on: the one requested, or the best for the device.

    Raises KernelError where the requested backend, or for ``auto`` every candidate, cannot do it.
    """
    candidates = devices.members[device_type].BACKENDS if requested == AUTO else (requested,)
    reasons = []
    for backend in candidates:
        try:
            body = resolve(op, backend)
            reason = _misplaced(backend, device_type) or body.unsupported(weights)
        except KernelError as error:
            reason = str(error)
        if reason is None:
            return backend
        reasons.append(f"{backend}: {reason}")
    raise KernelError(f"no kernel for {op} with {describe(weights)} on a {device_type} device. " + " ".join(reasons))


def has_own_static(backend: str) -> bool:
    """Tell whether a backend has a W8A8 product of its own for fixed scales; others take the one with token scales."""
    return backend != REFERENCE and (_FOLDER / _relative("static_int8_linear", backend)).is_file()


def describe(weights: QuantArgs) -> str:
    """Word weight settings for a message."""
    symmetry = "symmetric" if weights.symmetric else "asymmetric"
    group = f" of {weights.group_size}" if weights.group_size else ""
    return f"{weights.num_bits}-bit {symmetry} weights per {weights.strategy}{group}"


def _misplaced(backend: str, device_type: str) -> str | None:
    """Say where a backend runs, if it does not run on this device; one that no device names runs anywhere."""
    possible = [name for name, one in devices.members.items() if backend in (*one.BACKENDS, *one.NAMED_BACKENDS)]
    return (
        None
        if not possible or device_type in possible
        else f"it runs on {' or '.join(possible)}: load the model with device=..."
    )


def _relative(op: str, backend: str) -> str:
    return f"{op}.py" if backend == REFERENCE else f"{backend}/{op}.py"
