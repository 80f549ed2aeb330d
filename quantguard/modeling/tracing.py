"""What every layer of a decoder puts out on a given text, in the order in which they run."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from quantguard.errors import MeasurementError
from quantguard.modeling.descriptions import BLOCKS, HEAD
from quantguard.modeling.fake_quant_linear import FakeQuantLinear
from quantguard.modeling.loading import LoadedModel
from quantguard.modeling.quant_linear import QuantLinear
from quantguard.records import LayerError, LayerSketch

NUM_BUCKETS = 32
_BLOCKS = f"{BLOCKS}."


class Trace:
    """What the layers of a model put out, by name: float32 ``[tokens, width]``, and the kernel where there is one."""

    def __init__(self) -> None:
        self.ops: dict[str, str | None] = {}
        self._parts: dict[str, list[torch.Tensor]] = {}

    def add(self, name: str, op: str | None, output: torch.Tensor) -> None:
        """Take down what a layer has put out, behind what it did before."""
        self.ops[name] = op
        self._parts.setdefault(name, []).append(output)

    @property
    def outputs(self) -> dict[str, torch.Tensor]:
        """What every layer has put out."""
        return {name: torch.cat(parts) for name, parts in self._parts.items()}


def outputs(loaded: LoadedModel, sequence: Sequence[int]) -> Trace:
    """Read a text at once and return the outputs of each linear, block and the head.

    Raises MeasurementError naming the first layer that computes NaN or infinity.
    """
    trace = Trace()
    ids = torch.tensor([list(sequence)], device=loaded.model.device)
    with torch.inference_mode(), watching(loaded, trace):
        loaded.model(input_ids=ids, use_cache=False)
    return trace


def sketches(trace: Trace) -> tuple[LayerSketch, ...]:
    """Return a sketch of every layer's output."""
    return tuple(
        LayerSketch(name=name, op=trace.ops[name], buckets=_sketch(name, output))
        for name, output in trace.outputs.items()
    )


def errors_between(found: Trace, expected: Trace) -> tuple[LayerError, ...]:
    """Return how far every layer's output is from the same layer's of another model."""
    theirs = expected.outputs
    return tuple(
        LayerError(name=name, op=found.ops[name], relative_error=_distance(output, theirs[name]))
        for name, output in found.outputs.items()
    )


@contextlib.contextmanager
def watching(
    loaded: LoadedModel, trace: Trace, *, single_tokens: str | None = None, linears: bool = True
) -> Iterator[None]:
    """Take down what layers put out while the block lasts, blocks and the head alone without ``linears``.

    With ``single_tokens`` only forward passes of one token a row count, and names of layers end in it. Raises
    MeasurementError naming the first layer that computes NaN or infinity.
    """
    found = Trace()
    handles = []
    for name, module in loaded.model.named_modules():
        if _is_block_or_head(name) or (linears and _is_linear(name, module)):
            handles.append(module.register_forward_hook(_collector(name, module, found, single_tokens is not None)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    for name, output in found.outputs.items():
        told = name + (single_tokens or "")
        if not output.isfinite().all():
            raise MeasurementError(f"{told} of {loaded.name} computes NaN or infinity, and is the first that does")
        trace.add(told, found.ops[name], output)


def _is_block_or_head(name: str) -> bool:
    # Before the head lie the final norm and whatever was done to the embeddings.
    return name == HEAD or (name.startswith(_BLOCKS) and name.count(".") == 2)


def _is_linear(name: str, module: nn.Module) -> bool:
    return name.startswith(_BLOCKS) and isinstance(module, (nn.Linear, QuantLinear, FakeQuantLinear))


def _collector(name: str, module: nn.Module, found: Trace, only_single: bool):  # type: ignore[no-untyped-def] # noqa: ANN202, FBT001 - torch's hook
    op = next(iter(getattr(module, "kernels", {})), None)

    def collect(_module: nn.Module, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        tensor = output if isinstance(output, torch.Tensor) else output[0]
        if not only_single or tensor.shape[-2] == 1:
            found.add(name, op, tensor.detach().float().flatten(0, -2).cpu())

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
