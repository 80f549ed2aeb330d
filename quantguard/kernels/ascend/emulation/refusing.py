"""What the emulation does not do, it refuses."""

from quantguard.errors import KernelError


def refuse(op: str, **given: object) -> None:
    """Raise KernelError naming the arguments that were given and are not emulated."""
    present = {name: value for name, value in given.items() if value not in (None, 0, "")}
    if present:
        listed = ", ".join(f"{name}={value}" for name, value in present.items())
        raise KernelError(f"{op} with {listed} is not emulated; run it on an NPU, or without")
