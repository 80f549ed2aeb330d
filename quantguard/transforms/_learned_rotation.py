"""What SpinQuant and OSTQuant share: rotations of a whole decoder, found by gradient descent and then folded.

Where what was found is further from the float network on the text than the random start, the start is put back.

While they are learned no weight is rotated. An input x of a linear is replaced by ``Q(x R S) S^-1 R^-1``: the linear
sees what quantization does to it in the rotated basis, which is the rotated network with unquantized weights, at the
cost of two products with activations in the place of two with every weight.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from quantguard.errors import MeasurementError, RecipeError
from quantguard.modeling import Activations, Batch, Block, BlockCalibration, Decoder
from quantguard.modeling.folding import divide_input
from quantguard.modeling.online import kronecker_multiply
from quantguard.modeling.rotating import (
    fold_norm,
    fold_norms,
    rotate_down_input,
    rotate_ends,
    rotate_output_input,
    rotate_stream,
    rotate_value_heads,
    rotation_factors,
    transform_keys,
)
from quantguard.modeling.simulating import simulated_cache, simulated_inputs
from quantguard.numerics import fake_quantize
from quantguard.numerics.hadamard import random_orthogonal
from quantguard.records import Recipe
from quantguard.transforms._transform import Transform

BatchLoss = Callable[[Batch], torch.Tensor]


@dataclasses.dataclass(slots=True, kw_only=True)
class Rotations:
    """What is learned: the rotation of the residual stream, and that of values per block; float64 leaves."""

    stream: torch.Tensor
    values: list[torch.Tensor]

    @classmethod
    def drawn(cls, decoder: Decoder, *, seed: int) -> "Rotations":
        """Start from randomised Hadamard matrices."""
        head_dim = decoder.blocks[0].head_dim
        return cls(
            stream=random_orthogonal(decoder.hidden_size, seed=seed),
            values=[random_orthogonal(head_dim, seed=seed + 1 + index) for index in range(len(decoder.blocks))],
        )

    def all(self) -> list[torch.Tensor]:
        """Return the matrices, stream first."""
        return [self.stream, *self.values]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Learned logarithms of the diagonal that follows a rotation, by input; absent ones are zero."""

    qkv: torch.Tensor
    gate_up: torch.Tensor


class RotatedSimulation:
    """A decoder that computes as if its activations and cache were quantized in the rotated basis."""

    def __init__(self, decoder: Decoder, recipe: Recipe, rotations: Rotations, scales: list[Scales] | None) -> None:
        self._decoder, self._recipe, self._rotations, self._scales = decoder, recipe, rotations, scales
        first = decoder.blocks[0]
        self._dtype = torch.promote_types(decoder.dtype, torch.float32)
        self._heads = random_orthogonal(first.num_heads, seed=0).to(self._dtype)
        left, right = rotation_factors(first.groups[3].in_features)
        self._down = (left.to(self._dtype), right.to(self._dtype))
        self._keys = random_orthogonal(first.head_dim, seed=0).to(self._dtype)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Simulate within this context."""
        config = self._decoder.model.config
        with contextlib.ExitStack() as stack:
            for index, block in enumerate(self._decoder.blocks):
                stack.enter_context(simulated_inputs(block, self._change(index, block)))
                stack.enter_context(simulated_cache(config, block, self._recipe.kv_cache))
                if self._recipe.kv_cache is not None:
                    transform_keys(config, block, self._keys)
                    stack.callback(_clear_keys, block)
            yield

    def refresh(self) -> None:
        """Hand the present value rotations to the simulated caches; call before every step."""
        if self._recipe.kv_cache is not None:
            for block, matrix in zip(self._decoder.blocks, self._rotations.values, strict=True):
                extension: Any = block.attention.extension
                extension.simulated_value_basis = matrix.to(self._dtype)

    def _change(self, index: int, block: Block) -> Callable[[str, torch.Tensor], torch.Tensor]:
        kinds = {name: kind for kind, group in enumerate(block.groups) for name in group.names}

        def change(name: str, x: torch.Tensor) -> torch.Tensor:
            args = self._recipe.layer_args(name)
            if args is None or args.input_activations is None:
                return x
            left, right, scale = self._basis(index, kinds[name])
            rotated = kronecker_multiply(x, left, right)
            if scale is not None:
                rotated = rotated * scale.exp()
            quantized = fake_quantize(rotated, args.input_activations)
            if scale is not None:
                quantized = quantized * (-scale).exp()
            return kronecker_multiply(quantized, None if left is None else left.t(), right.t())

        return change

    def _basis(self, index: int, kind: int) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor | None]:
        if kind == 1:
            return self._heads, self._rotations.values[index].to(self._dtype), None
        if kind == 3:
            return *self._down, None
        scales = self._scales[index] if self._scales else None
        scale = None if scales is None else (scales.qkv if kind == 0 else scales.gate_up)
        return None, self._rotations.stream.to(self._dtype), scale


def _clear_keys(block: Block) -> None:
    extension: Any = block.attention.extension
    extension.key_transform = extension.query_transform = None


def next_token_logits(decoder: Decoder, batch: Batch) -> torch.Tensor:
    """Run embedded text through the whole decoder; return float32 logits ``[sequences, tokens, vocabulary]``."""
    for block in decoder.blocks:
        batch = dataclasses.replace(batch, hidden=batch.through(block.layer))
    logits: torch.Tensor = decoder.head(decoder.norm(batch.hidden))
    return logits.float()


def fold_all_norms(decoder: Decoder) -> None:
    """Fold every norm that reads the residual stream into what reads the norm."""
    decoder.untie()
    fold_norm(decoder.norm, (decoder.head,))
    for block in decoder.blocks:
        fold_norms(block)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """How a loss over ``leaves`` is minimised.

    ``loss_of`` and ``divergence_of`` take a batch; ``step`` uses the gradients that the leaves hold, with a factor that
    falls as a cosine.
    """

    method: str
    leaves: Sequence[torch.Tensor]
    loss_of: BatchLoss
    divergence_of: BatchLoss
    step: Callable[[float], None]
    num_steps: int

    def run(self, simulation: RotatedSimulation, batches: Sequence[Batch]) -> tuple[tuple[float, ...], bool]:
        """Descend; return the loss of every step, and whether the start was put back.

        That happens where the end is further from the float network than the start, whatever the loss is then: a loss
        on text falls too when a network that does not model the text is bent towards it. Raises MeasurementError
        where the loss turns to NaN.
        """
        start = [leaf.clone() for leaf in self.leaves]
        with simulation.installed():
            before = self._divergence(simulation, batches)
            with torch.enable_grad():
                losses = [self._one(simulation, batches[i % len(batches)], i) for i in range(self.num_steps)]
            worse = self._divergence(simulation, batches) >= before
        if worse:
            for leaf, first in zip(self.leaves, start, strict=True):
                leaf.copy_(first)
        return tuple(losses), worse

    def _divergence(self, simulation: RotatedSimulation, batches: Sequence[Batch]) -> float:
        simulation.refresh()
        with torch.no_grad():
            return sum(self.divergence_of(batch).item() for batch in batches) / len(batches)

    def _one(self, simulation: RotatedSimulation, batch: Batch, index: int) -> float:
        for leaf in self.leaves:
            leaf.requires_grad_()
            leaf.grad = None
        simulation.refresh()
        loss = self.loss_of(batch)
        loss.backward()
        for leaf in self.leaves:
            leaf.requires_grad_(False)
        if not math.isfinite(loss.item()):
            raise MeasurementError(f"{self.method}: the loss is not finite at step {index + 1}; lower learning_rate")
        with torch.no_grad():
            self.step(0.5 * (1 + math.cos(math.pi * index / self.num_steps)))
        return loss.item()


class LearnedRotation(Transform):
    """A transform whose rotations, and scales if it has any, are learned on the whole model and then folded.

    A subclass has a loss and an optimizer. ``options`` holds ``steps``, ``batch_size``, ``top_k`` and ``seed``.
    """

    learns = True
    name: str

    def __init__(self, recipe: Recipe, options: dict[str, Any]) -> None:
        self._recipe, self._options = recipe, options
        self._learned: dict[str, LearnedBlock] = {}
        self._stream: torch.Tensor | None = None
        self._losses: tuple[float, ...] = ()
        self._rolled_back = False

    def draw_scales(self, decoder: Decoder) -> list[Scales] | None:
        """Return the scales to start from; None where there are none to learn."""
        del decoder
        return None

    def loss(self, logits: torch.Tensor, batch: Batch, divergence: torch.Tensor) -> torch.Tensor:
        """Return what is minimised; ``divergence`` is the KL-top divergence from the float network on this batch."""
        raise NotImplementedError

    def stepper(self, rotations: Rotations, scales: list[Scales] | None) -> Callable[[float], None]:
        """Return what moves the leaves down their gradients, at a share of the learning rate."""
        raise NotImplementedError

    def learn(self, decoder: Decoder, activations: Activations) -> None:
        """Descend; the norms of the model are folded on the way, which changes no output."""
        fold_all_norms(decoder)
        rotations = Rotations.drawn(decoder, seed=self._options["seed"])
        scales = self.draw_scales(decoder)
        batches = [part for batch in activations.batches for part in batch.split(self._options["batch_size"])]
        targets = _float_targets(decoder, batches, self._options["top_k"])

        def divergence_of(batch: Batch, logits: torch.Tensor | None = None) -> torch.Tensor:
            return kl_top(next_token_logits(decoder, batch) if logits is None else logits, *targets[id(batch)])

        def loss_of(batch: Batch) -> torch.Tensor:
            logits = next_token_logits(decoder, batch)
            return self.loss(logits, batch, divergence_of(batch, logits))

        descent = Descent(
            method=self.name,
            leaves=[*rotations.all(), *(tensor for pair in scales or () for tensor in (pair.qkv, pair.gate_up))],
            loss_of=loss_of,
            divergence_of=divergence_of,
            step=self.stepper(rotations, scales),
            num_steps=self._options["steps"],
        )
        simulation = RotatedSimulation(decoder, self._recipe, rotations, scales)
        self._losses, self._rolled_back = descent.run(simulation, batches)
        self._stream = rotations.stream
        self._learned = {
            block.name: LearnedBlock(values=values, scales=scales[index] if scales else None)
            for index, (block, values) in enumerate(zip(decoder.blocks, rotations.values, strict=True))
        }

    def prepare(self, decoder: Decoder) -> None:
        """Rotate the embedding and the head."""
        if self._stream is None:
            raise RecipeError(f"{self.name} learns on the whole model, and has not been shown it")
        rotate_ends(decoder, self._stream)

    def apply(self, calibration: BlockCalibration) -> None:
        """Fold what was learned into a block; the report of the first block has the loss curve."""
        block, learned = calibration.block, self._learned[calibration.block.name]
        assert self._stream is not None
        fold_norms(block)
        rotate_stream(block, self._stream)
        calibration.rotated(self._stream)
        rotate_value_heads(block, learned.values)
        rotate_output_input(block)
        rotate_down_input(block)
        if self._recipe.kv_cache is not None:
            transform_keys(calibration.config, block, random_orthogonal(block.head_dim, seed=0))
        if learned.scales is not None:
            divide_input(block.groups[0], (-learned.scales.qkv.double()).exp())
            divide_input(block.groups[2], (-learned.scales.gate_up.double()).exp())
        calibration.changed()
        if block.name == next(iter(self._learned)):
            calibration.losses = self._losses
            calibration.rolled_back = (self.name,) if self._rolled_back else ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LearnedBlock:
    """What was learned for one block."""

    values: torch.Tensor
    scales: Scales | None


def _float_targets(decoder: Decoder, batches: list[Batch], top_k: int) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Return, by batch, the top logits of the float network and the tokens that they belong to."""
    count = min(top_k, decoder.head.out_features)
    with torch.no_grad():
        found = (next_token_logits(decoder, batch).topk(count, dim=-1) for batch in batches)
        return {id(batch): (top.values, top.indices) for batch, top in zip(batches, found, strict=True)}


def kl_top(logits: torch.Tensor, top: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mean divergence over the float network's top tokens, nats; all float32 ``[sequences, tokens, k]``.

    OSTQuant, arXiv 2501.13987, eq. 9.
    """
    found = logits.gather(-1, tokens).log_softmax(dim=-1)
    return torch.nn.functional.kl_div(found, top.log_softmax(dim=-1), reduction="none", log_target=True).sum(-1).mean()
