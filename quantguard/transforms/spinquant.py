"""SpinQuant (Liu et al., arXiv 2405.16406): QuaRot with the rotations learned.

R1 of the residual stream and R2 of every block's values start as randomised Hadamard matrices and descend by Cayley SGD
on the cross entropy of the network with quantized activations and cache, its weights in full precision (section 3.2).
The Hadamard transforms that run online (R3 of queries and keys, R4 before down_proj, and the one across heads) are
fixed. Where the end is no better on the text than the start, the start is put back and said to be.
"""

from typing import Any

import torch

from quantguard.errors import RecipeError
from quantguard.modeling import Activations, Batch, BlockCalibration, Decoder
from quantguard.modeling.rotating import rotate_ends
from quantguard.numerics.stiefel import cayley_step
from quantguard.recipes.options import settings
from quantguard.records import Recipe
from quantguard.transforms import _learned_rotation as shared
from quantguard.transforms._transform import Transform

DEFAULTS = {"learning_rate": 1.5, "steps": 100, "batch_size": 1, "seed": 0}


def create(recipe: Recipe, options: dict[str, Any]) -> "SpinQuant":
    """Return the transform; raise RecipeError for options that cannot be meant."""
    chosen = settings("spinquant", DEFAULTS, options)
    if chosen["learning_rate"] <= 0 or chosen["steps"] < 1 or chosen["batch_size"] < 1:
        raise RecipeError("spinquant: learning_rate must be above 0, steps and batch_size at least 1")
    return SpinQuant(recipe, chosen)


class SpinQuant(Transform):
    """Rotations learned on the whole model."""

    learns = True

    def __init__(self, recipe: Recipe, options: dict[str, Any]) -> None:
        self._recipe, self._options = recipe, options
        self._rotations: shared.Rotations | None = None
        self._losses: tuple[float, ...] = ()
        self._rolled_back = False
        self._index = 0

    def learn(self, decoder: Decoder, activations: Activations) -> None:
        """Descend on the rotations; the norms of the model are folded on the way, which changes no output."""
        shared.fold_all_norms(decoder)
        rotations = shared.Rotations.drawn(decoder, seed=self._options["seed"])
        simulation = shared.RotatedSimulation(decoder, self._recipe, rotations, None)
        batches = [part for batch in activations.batches for part in batch.split(self._options["batch_size"])]

        def loss_of(batch: Batch) -> torch.Tensor:
            logits = shared.next_token_logits(decoder, batch)[:, :-1]
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.token_ids[:, 1:].flatten())

        def step(factor: float) -> None:
            for matrix in rotations.all():
                if matrix.grad is not None:
                    matrix.copy_(cayley_step(matrix, matrix.grad, self._options["learning_rate"] * factor))

        descent = shared.Descent(
            method="spinquant",
            leaves=rotations.all(),
            loss_of=loss_of,
            step=step,
            num_steps=self._options["steps"],
        )
        self._losses, self._rolled_back = descent.run(simulation, batches)
        self._rotations = rotations

    def prepare(self, decoder: Decoder) -> None:
        """Rotate the embedding and the head."""
        rotate_ends(decoder, self._learned().stream)

    def apply(self, calibration: BlockCalibration) -> None:
        """Fold the rotations into a block."""
        shared.fold_rotations(
            calibration, self._learned(), self._index, quantizes_keys=self._recipe.kv_cache is not None
        )
        if self._index == 0:
            calibration.losses = self._losses
            calibration.rolled_back = ("spinquant",) if self._rolled_back else ()
        self._index += 1

    def _learned(self) -> shared.Rotations:
        if self._rotations is None:
            raise RecipeError("spinquant learns on the whole model, and has not been shown it")
        return self._rotations
