"""Choosing a backend by name, and an op's body within it."""

import importlib
import pathlib
import types

from quantguard import devices
from quantguard.errors import KernelError, UnknownNameError
from quantguard.kernels.backend import members
from quantguard.records import QuantArgs, RotationArgs

REFERENCE = "reference"
AUTO = "auto"
_FOLDER = pathlib.Path(__file__).parent
# Whose settings a message words; those of the other ops are weights.
_SUBJECTS = {
    "quantize_per_token": "activations",
    "quantize_per_tensor": "activations",
    "kv_cache": "keys and values",
}


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


def choose_backend(op: str, settings: QuantArgs | RotationArgs, *, requested: str, device_type: str) -> str:
    """Return the backend to run ``op`` with such settings on: the one requested, or the best for the device.

    ``settings`` are those of what the op works on: of weights for a linear, else of activations, of keys and values,
    or of a rotation. Raises KernelError where the requested backend, or for ``auto`` every candidate, cannot do it.
    """
    candidates = devices.members[device_type].BACKENDS if requested == AUTO else (requested,)
    reasons = []
    for backend in candidates:
        try:
            body = resolve(op, backend)
            reason = _misplaced(backend, device_type) or body.unsupported(settings)
        except KernelError as error:
            reason = str(error)
        if reason is None:
            return backend
        reasons.append(f"{backend}: {reason}")
    described = describe(settings, _SUBJECTS.get(op, "weights"))
    raise KernelError(f"no kernel for {op} with {described} on a {device_type} device. " + " ".join(reasons))


def own_body(op: str, settings: QuantArgs | RotationArgs, backend: str) -> types.ModuleType | None:
    """Return a backend's body of an op that is several in one, where it has its own and that takes such settings.

    The reference's body only says what such an op computes: without a body of the backend's own, the several run.
    """
    if not has_own(op, backend):
        return None
    body = resolve(op, backend)
    return body if body.unsupported(settings) is None else None


def has_own(op: str, backend: str) -> bool:
    """Tell whether a backend other than the reference has a body of its own for an op."""
    return backend != REFERENCE and (_FOLDER / _relative(op, backend)).is_file()


def describe(settings: QuantArgs | RotationArgs, subject: str = "weights") -> str:
    """Word settings for a message."""
    if isinstance(settings, RotationArgs):
        factors = " x ".join("I" if side is None else str(side) for side in (settings.left, settings.right))
        return f"rows of {settings.width} and factors {factors}"
    symmetry = "symmetric" if settings.symmetric else "asymmetric"
    group = f" of {settings.group_size}" if settings.group_size else ""
    clip = f", clip_ratio {settings.clip_ratio:g}," if settings.clip_ratio != 1.0 else ""
    return f"{settings.num_bits}-bit {symmetry} {subject}{clip} per {settings.strategy}{group}"


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
