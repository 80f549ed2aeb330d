"""Rotation by two matrix products of torch's, which is what a CPU has for it."""

from quantguard.kernels.rotate import apply, unsupported

__all__ = ["apply", "unsupported"]
