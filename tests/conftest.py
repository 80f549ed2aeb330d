"""What all tests share."""

# pytester forgets the modules that a run inside this process imports, and torch cannot be imported twice.
import quantguard.kernels.cpu.int8_linear
import quantguard.pipeline

__all__ = ["quantguard"]
