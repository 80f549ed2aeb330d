"""What every layer of a decoder puts out on a given text, in the order in which they run."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from quantguard.errors import MeasurementError
from quantguard.modeling.loading import LoadedModel
from quantguard.modeling.quant_linear import FakeQuantLinear, QuantLinear
from quantguard.records import LayerError, LayerSketch

NUM_BUCKETS = 32
# Behind it lie the final norm and whatever was done to the embeddings.
_HEAD = "lm_head"


@torch.inference_mode()
def outputs(loaded: LoadedModel, sequence: Sequence[int]) -> dict[str, tuple[str | None, torch.Tensor]]:
    """Run a text and return for each linear, block and the head its kernel and output, float32 ``[tokens, width]``.

    Raises MeasurementError naming the first layer that computes NaN or infinity.
    """
    found: dict[str, tuple[str | None, torch.Tensor]] = {}
    with _watching(loaded.model, found):
        loaded.model(input_ids=torch.tensor([list(sequence)], device=loaded.model.device), use_cache=False)
    for name, (_, output) in found.items():
        if not output.isfinite().all():
            raise MeasurementError(f"{name} of {loaded.name} computes NaN or infinity, and is the first that does")
    return found


def sketches(loaded: LoadedModel, sequence: Sequence[int]) -> tuple[LayerSketch, ...]:
    """Return a sketch of every layer's output."""
    return tuple(
        LayerSketch(name=name, op=op, buckets=_sketch(name, output))
        for name, (op, output) in outputs(loaded, sequence).items()
    )


def errors_between(found: LoadedModel, expected: LoadedModel, sequence: Sequence[int]) -> tuple[LayerError, ...]:
    """Return how far every layer's output is from the same layer's of another model."""
    theirs = outputs(expected, sequence)
    return tuple(
        LayerError(name=name, op=op, relative_error=_distance(output, theirs[name][1]))
        for name, (op, output) in outputs(found, sequence).items()
    )


@contextlib.contextmanager
def _watching(model: nn.Module, found: dict[str, tuple[str | None, torch.Tensor]]) -> Iterator[None]:
    """Collect outputs while the block lasts."""
    handles = []
    for name, module in model.named_modules():
        if _is_layer(name, module):
            handles.append(module.register_forward_hook(_collector(name, module, found)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_layer(name: str, module: nn.Module) -> bool:
    if name.startswith("model.layers."):
        return isinstance(module, (nn.Linear, QuantLinear, FakeQuantLinear)) or name.count(".") == 2
    return name == _HEAD


def _collector(name: str, module: nn.Module, found: dict[str, tuple[str | None, torch.Tensor]]):  # type: ignore[no-untyped-def] # noqa: ANN202 - torch's hook
    op = next(iter(getattr(module, "kernels", {})), None)

    def collect(_module: nn.Module, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        tensor = output if isinstance(output, torch.Tensor) else output[0]
        found[name] = (op, tensor.detach().float().flatten(0, -2).cpu())

    return collect


def _sketch(name: str, output: torch.Tensor) -> tuple[float, ...]:
    seed = int.from_bytes(hashlib.sha256(f"{name}:{tuple(output.shape)}".encode()).digest()[:7])
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(2 * NUM_BUCKETS, (output.numel(),), generator=generator)
    signed = output.double().flatten() * (1 - 2 * (places % 2))
    buckets = torch.zeros(NUM_BUCKETS, dtype=torch.float64).index_add_(0, places // 2, signed)
    return tuple(float(f"{value:.6g}") for value in buckets.tolist())


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    difference, whole = torch.linalg.vector_norm(found - expected), torch.linalg.vector_norm(expected)
    return float(difference / whole.clamp_min(1e-30))
