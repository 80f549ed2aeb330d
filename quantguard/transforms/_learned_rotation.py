"""What SpinQuant and OSTQuant share: rotations of a whole decoder, found by gradient descent and then folded.

Where what was found is further from the float network on the text than the random start, the start is put back.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from quantguard.errors import MeasurementError, RecipeError
from quantguard.modeling import Activations, Batch, BlockCalibration, Decoder
from quantguard.modeling.folding import divide
from quantguard.modeling.rotating import (
    fold_norms,
    rotate_down_input,
    rotate_ends,
    rotate_output_input,
    rotate_stream,
    rotate_value_heads,
    transform_keys,
)
from quantguard.modeling.sites import GATE_UP_INPUT, QKV_INPUT
from quantguard.numerics.hadamard import random_orthogonal
from quantguard.records import Recipe
from quantguard.transforms._rotated_simulation import (
    RotatedSimulation,
    Rotations,
    Scales,
    next_token_logits,
)
from quantguard.transforms._transform import FOLDS_NORMS, Transform

BatchLoss = Callable[[Batch], torch.Tensor]


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
    cancels_scales = FOLDS_NORMS
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
        """Descend."""
        rotations = Rotations.drawn(decoder, seed=self._options["seed"])
        scales = self.draw_scales(decoder)
        batches = [part for batch in activations.batches for part in batch.split(self._options["batch_size"])]
        targets = _float_targets(decoder, batches, self._options["top_k"])

        def divergence_of(batch: Batch, logits: torch.Tensor | None = None) -> torch.Tensor:
            found = next_token_logits(decoder, batch) if logits is None else logits
            return batch.words(kl_top(found, *targets[id(batch)])).mean()

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
        decoder.untie()
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
            transform_keys(calibration.config, block, random_orthogonal(block.attention.head_dim, seed=0))
        if learned.scales is not None:
            divide(block, QKV_INPUT, (-learned.scales.qkv.double()).exp())
            divide(block, GATE_UP_INPUT, (-learned.scales.gate_up.double()).exp())
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
    """Return the divergence of each token over the float network's top tokens, nats; all ``[sequences, tokens, k]``.

    OSTQuant, arXiv 2501.13987, eq. 9.
    """
    found = logits.gather(-1, tokens).log_softmax(dim=-1)
    return torch.nn.functional.kl_div(found, top.log_softmax(dim=-1), reduction="none", log_target=True).sum(-1)
