"""Calibration text on its way through a decoder, block by block: one block and its inputs in memory at a time."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from quantguard.errors import MeasurementError
from quantguard.modeling.attention import AttentionExtension
from quantguard.modeling.block import Block, LinearGroup
from quantguard.modeling.input_stats import InputStats, empty_stats
from quantguard.modeling.layer_inputs import first_inputs
from quantguard.modeling.online import TransformedLinear
from quantguard.modeling.precision import Precision, computing, matmul_precision
from quantguard.modeling.structure import Decoder

# Sequences of like length go through a block together, up to this many tokens: what lies between two layers then stays
# in a core's cache.
_BATCH_TOKENS = 2048


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Hidden states of sequences, float ``[sequences, tokens, hidden_size]``, with what goes beside.

    token_ids: int64 ``[sequences, tokens]``, the text itself. present: bool of that shape, False for what fills up
    shorter sequences on the right, where no token of a sequence attends to it; absent where all are of one length.
    """

    token_ids: torch.Tensor
    hidden: torch.Tensor
    beside: dict[str, Any]
    present: torch.Tensor | None = None

    @property
    def num_tokens(self) -> int:
        """The number of tokens of the text."""
        return self.token_ids.numel() if self.present is None else int(self.present.sum())

    def words(self, x: torch.Tensor) -> torch.Tensor:
        """Return what stands for tokens of the text: from ``[sequences, tokens, ...]`` to ``[num_tokens, ...]``."""
        return x.flatten(0, 1) if self.present is None else x[self.present]

    def through(self, layer: nn.Module) -> torch.Tensor:
        """Run a decoder layer; gradients flow where they are enabled."""
        output: torch.Tensor = layer(self.hidden, **self.beside)
        return output

    def in_float32(self) -> "Batch":
        """Return the batch with all floats brought into float32."""
        beside = {name: _in_float32(value) for name, value in self.beside.items()}
        return dataclasses.replace(self, hidden=self.hidden.float(), beside=beside)

    def split(self, size: int) -> list["Batch"]:
        """Cut into batches of at most ``size`` sequences."""
        ids, hidden = self.token_ids.split(size), self.hidden.split(size)
        present = [None] * len(ids) if self.present is None else self.present.split(size)
        pieces = zip(ids, hidden, present, strict=True)
        return [dataclasses.replace(self, token_ids=i, hidden=h, present=p) for i, h, p in pieces]


def _in_float32(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_in_float32(entry) for entry in value)
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """The hidden states of all calibration sequences between two blocks."""

    batches: tuple[Batch, ...]

    def replaced(self, hidden: Sequence[torch.Tensor]) -> "Activations":
        """Return the same sequences with other hidden states."""
        pairs = zip(self.batches, hidden, strict=True)
        return Activations(batches=tuple(dataclasses.replace(batch, hidden=states) for batch, states in pairs))

    @property
    def num_tokens(self) -> int:
        """The number of tokens."""
        return sum(batch.num_tokens for batch in self.batches)


def embed(decoder: Decoder, sequences: Sequence[Sequence[int]]) -> Activations:
    """Return the hidden states in front of the first block, as the model itself gives them, multipliers included.

    Raises MeasurementError where there is nothing to run.
    """
    if not sequences:
        raise MeasurementError("calibration has no text: its set gave no sequence")
    return Activations(batches=tuple(_embed(decoder, group) for group in _of_like_length(sequences)))


def _of_like_length(sequences: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Put sequences together, shortest first, as many as fit when the longest of them sets the length."""
    batches: list[list[Sequence[int]]] = []
    for sequence in sorted(sequences, key=len):
        if not batches or (len(batches[-1]) + 1) * len(sequence) > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(sequence)
    return batches


def _embed(decoder: Decoder, sequences: Sequence[Sequence[int]]) -> Batch:
    device = decoder.embedding.weight.device
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
    longest = int(lengths.max())
    ids = torch.tensor([[*sequence, *[0] * (longest - len(sequence))] for sequence in sequences], device=device)
    present = None if int(lengths.min()) == longest else torch.arange(longest, device=device) < lengths[:, None]
    hidden, beside = first_inputs(decoder.model, ids)
    return Batch(token_ids=ids, hidden=hidden, beside=beside, present=present)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LearnedClips:
    """Shares of the extremes that a learned method found for a linear: weight float32 ``[out, 1]``, activation one."""

    weight: torch.Tensor | None = None
    activation: float = 1.0


class BlockCalibration:
    """One block with the calibration text in front of it; statistics are taken when they are first asked for.

    The text stays in the basis of the original model. A block whose residual stream has been rotated is told so
    (:meth:`rotated`), and then meets it in its own. ``clips``, ``losses`` and ``rolled_back`` are what transforms
    report: learned clipping by linear, a loss curve, and the names of parts that were put back because they got worse.
    """

    def __init__(
        self, block: Block, activations: Activations, config: Any, *, precision: Precision = "float32"
    ) -> None:
        self.block = block
        self.activations = activations
        self.config = config
        self._precision = precision
        self.clips: dict[str, LearnedClips] = {}
        self.losses: tuple[float, ...] = ()
        self.rolled_back: tuple[str, ...] = ()
        self._basis: torch.Tensor | None = None
        self._stats: dict[tuple[str, ...], InputStats] = {}
        self._outputs: Activations | None = None
        self._running = activations.batches[0]

    def run(self, batch: Batch, layer: nn.Module | None = None) -> torch.Tensor:
        """Run the block, or a layer in its place, on one batch; both sides in the original basis.

        A block whose weights are held in float32 computes in it, and returns it, whatever the type of the batch is.
        """
        hidden = batch.hidden
        if layer is None:
            weight = getattr(self.block.attention.q, "weight", hidden)
            hidden = hidden.to(torch.promote_types(hidden.dtype, weight.dtype))
        own = dataclasses.replace(batch, hidden=self.to_own_basis(hidden))
        return self.to_original_basis(own.through(self.block.layer if layer is None else layer))

    def to_own_basis(self, hidden: torch.Tensor) -> torch.Tensor:
        """Bring hidden states of the original model into the basis that this block's residual stream is in."""
        return _times(hidden, self._basis)

    def to_original_basis(self, hidden: torch.Tensor) -> torch.Tensor:
        """Bring hidden states of this block's residual stream into the basis of the original model."""
        return _times(hidden, None if self._basis is None else self._basis.t())

    def outputs(self, num_batches: int | None = None) -> Activations:
        """Run the block as it is now on the text or its first batches, without gradients, as precisely as asked."""
        device_type = self.activations.batches[0].hidden.device.type
        found = []
        with torch.no_grad(), computing(self.block, self._precision, device_type):
            for batch in self.activations.batches[:num_batches]:
                self._running = batch
                found.append(dataclasses.replace(batch, hidden=self.run(batch).to(batch.hidden.dtype)))
        return Activations(batches=tuple(found))

    def float_outputs(self) -> Activations:
        """Return what the float block makes of the text; a block must not be quantized before this is first asked."""
        if self._outputs is None:
            self._outputs = self.outputs()
        return self._outputs

    def stats(self, group: LinearGroup, *, gram: bool, magnitudes: bool = True) -> InputStats:
        """Return the statistics of a group's input as the block is now."""
        found = self._stats.get(group.names)
        if found is not None:
            magnitudes, gram = magnitudes or found.largest is not None, gram or found.gram is not None
        if found is None or (magnitudes and found.largest is None) or (gram and found.gram is None):
            self._stats = self._observe(magnitudes=magnitudes, gram=gram)
        return self._stats[group.names]

    def rescaled(self, group: LinearGroup, divisor: torch.Tensor) -> None:
        """Note that the channels of a group's input are divided by ``divisor`` from now on."""
        if group.names in self._stats:
            self._stats[group.names] = self._stats[group.names].rescaled(divisor)

    def changed(self) -> None:
        """Forget the statistics: the block has been changed in a way that they do not follow."""
        self._stats = {}

    def rotated(self, rotation: torch.Tensor) -> None:
        """Note that the block's residual stream is rotated: row vectors times ``rotation``, float64, block by block."""
        width = self.activations.batches[0].hidden.shape[-1]
        full = torch.kron(torch.eye(width // len(rotation), dtype=torch.float64), rotation)
        self._basis = full if self._basis is None else self._basis @ full
        self.changed()

    def keys_and_values(self, extension: AttentionExtension) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the extremes of keys and values per head and channel, float ``[1, heads, 2, head_dim]``.

        The two entries of the third dimension are the smallest and the largest value.
        """
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []

        def observe(keys: torch.Tensor, values: torch.Tensor) -> None:
            by_token = [self._running.words(x.transpose(1, 2)).transpose(0, 1)[None] for x in (keys, values)]
            seen.append((_extremes(by_token[0]), _extremes(by_token[1])))

        extension.observer = observe
        try:
            self.outputs()
        finally:
            extension.observer = None
        return _extremes(torch.cat([k for k, _ in seen], dim=2)), _extremes(torch.cat([v for _, v in seen], dim=2))

    def _observe(self, *, magnitudes: bool, gram: bool) -> dict[tuple[str, ...], InputStats]:
        device = self.activations.batches[0].hidden.device
        stats = {
            g.names: empty_stats(g.in_features, magnitudes=magnitudes, gram=gram, device=device)
            for g in self.block.groups.values()
        }
        with contextlib.ExitStack() as stack:
            for group in self.block.groups.values():
                stack.enter_context(_watching(group, functools.partial(self._see, stats[group.names])))
            outputs = self.outputs()
        for found in stats.values():
            found.finish()
        # Transforms keep the function, so what the block makes of the text now is what it will make of it when changed.
        self._outputs = outputs if self._outputs is None else self._outputs
        return stats

    def _see(self, stats: InputStats, x: torch.Tensor) -> None:
        stats.update(self._running.words(x))


def _times(x: torch.Tensor, matrix: torch.Tensor | None) -> torch.Tensor:
    """Change the basis, always in full: a massive channel would leave its rounding error on all others."""
    if matrix is None:
        return x
    with matmul_precision("float32"), torch.autocast(x.device.type, enabled=False):
        return x @ matrix.to(x.device, x.dtype)


def _extremes(x: torch.Tensor) -> torch.Tensor:
    """Return the smallest and largest value over batch and tokens of ``[batch, heads, tokens, head_dim]``."""
    return torch.stack((x.amin(dim=(0, 2)), x.amax(dim=(0, 2))), dim=1)[None]


@contextlib.contextmanager
def _watching(group: LinearGroup, see: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """Hand everything that the weights of a group are multiplied with to ``see``."""
    linear = next(iter(group.linears))
    if isinstance(linear, TransformedLinear):
        hook = linear.input_transform.register_forward_hook(lambda _module, _args, output: see(output))
    else:
        hook = linear.register_forward_pre_hook(lambda _module, args: see(args[0]))
    try:
        yield
    finally:
        hook.remove()
