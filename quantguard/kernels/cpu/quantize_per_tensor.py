"""Per-tensor quantization: three elementwise passes of torch, which is not what a layer's time goes to."""

from quantguard.kernels.quantize_per_tensor import apply, apply_asymmetric, unsupported

__all__ = ["apply", "apply_asymmetric", "unsupported"]
