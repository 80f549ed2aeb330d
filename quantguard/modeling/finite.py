"""NaN and infinity in weights, stored or made by a type that is too narrow: told by the name of the tensor.

A weight that overflows would only show as text that is nonsense, or as a scale of infinity that zeroes a row.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from quantguard.errors import ModelError
from quantguard.modeling.tensor_files import TensorFiles


def is_finite(tensor: torch.Tensor) -> bool:
    """Tell whether no value is NaN or infinity: one pass without memory of its own, ten times as fast as reading."""
    if not tensor.is_floating_point() or tensor.is_meta or not tensor.numel():
        return True
    # torch has no extremes of 8-bit floats.
    values = tensor.detach().float() if tensor.dtype.itemsize == 1 else tensor.detach()
    low, high = values.aminmax()
    return math.isfinite(low.item()) and math.isfinite(high.item())


def require_finite(tensors: Iterable[tuple[str, torch.Tensor]], *, where: str) -> None:
    """Raise ModelError naming the first tensor that holds NaN or infinity, and the place of the first such value."""
    for name, tensor in tensors:
        if not is_finite(tensor):
            raise ModelError(f"{where}: {name} {_told(tensor)}")


def named_tensors(module: nn.Module, prefix: str = "") -> Iterable[tuple[str, torch.Tensor]]:
    """Return parameters and buffers by name, behind ``prefix``."""
    yield from module.named_parameters(prefix)
    yield from module.named_buffers(prefix)


def require_finite_as_read(
    tensors: Iterable[tuple[str, torch.Tensor]], files: TensorFiles, names: Mapping[str, str] | None = None
) -> None:
    """Raise ModelError naming the first tensor that holds NaN or infinity, and its file.

    The tensors have been brought into a type; it is said where they are finite as they are stored. ``names`` are what
    those of the model are stored under, where that differs.
    """
    for name, tensor in tensors:
        if not is_finite(tensor):
            stored = (names or {}).get(name, name)
            entry = files.entries.get(stored)
            where = files.path if entry is None else files.path / entry.file
            told = None if entry is None else overflow_of(files.read_named([stored])[stored], tensor.dtype)
            raise ModelError(f"{where}: {stored} {told or _told(tensor)}")


def overflow_of(tensor: torch.Tensor, dtype: torch.dtype) -> str | None:
    """Say which value of a finite tensor is infinite in a type; None where there is none."""
    if not is_finite(tensor) or is_finite(tensor.to(dtype)):
        return None
    largest = tensor.detach().abs().amax().item()
    kind = str(dtype).removeprefix("torch.")
    wider = "bfloat16 or float32" if dtype == torch.float16 else "float64"
    return (
        f"is infinite in {kind}: it holds {largest:.6g}, and the largest number of {kind} is"
        f" {torch.finfo(dtype).max:.6g}; load the model in {wider}"
    )


def _told(tensor: torch.Tensor) -> str:
    first = torch.nonzero(~torch.isfinite(tensor.detach()))[0].tolist()
    return f"holds NaN or infinity: {tensor[tuple(first)].item()} at {first}"
