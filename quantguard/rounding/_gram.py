"""What roundings that look at a layer's inputs ask for."""

import torch

from quantguard.errors import MeasurementError
from quantguard.modeling import InputStats


def required_gram(stats: InputStats | None, method: str) -> torch.Tensor:
    """Return the inputs' Gram matrix, float32 ``[in_features, in_features]``; raise MeasurementError without one."""
    if stats is None or stats.gram is None or stats.num_tokens == 0:
        raise MeasurementError(f"{method} needs the Gram matrix of the layer's inputs, and calibration gave none")
    return stats.gram
