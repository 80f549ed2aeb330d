"""SpinQuant (Liu et al., arXiv 2405.16406): QuaRot with the rotations learned.

R1 of the residual stream and R2 of every block's values start as randomised Hadamard matrices and descend by Cayley SGD
on the cross entropy of the network with quantized activations and cache, its weights in full precision (section 3.2).
The Hadamard transforms that run online (R3 of queries and keys, R4 before down, and the one across heads) are
fixed. A network that does not model the calibration text, such as one fine-tuned on answers alone, can be bent towards
it at the cost of what it does: the rotations go back to their start where they end further from the float network.
"""

from collections.abc import Callable
from typing import Any

import torch

from quantguard.errors import RecipeError
from quantguard.modeling import Batch
from quantguard.numerics.stiefel import cayley_step
from quantguard.recipes.options import settings
from quantguard.records import Recipe
from quantguard.transforms._learned_rotation import LearnedRotation
from quantguard.transforms._rotated_simulation import Rotations, Scales

_NO_TARGET = -100
# top_k: over how many of the float network's most likely tokens the end is compared with the start.
DEFAULTS = {"learning_rate": 1.5, "steps": 100, "batch_size": 1, "top_k": 100, "seed": 0}


def create(recipe: Recipe, options: dict[str, Any]) -> "SpinQuant":
    """Return the transform; raise RecipeError for options that cannot be meant."""
    chosen = settings("spinquant", DEFAULTS, options)
    if min(chosen[name] for name in DEFAULTS if name != "seed") <= 0:
        raise RecipeError("spinquant: learning_rate, steps, batch_size and top_k must be above 0")
    return SpinQuant(recipe, chosen)


class SpinQuant(LearnedRotation):
    """Rotations learned by Cayley SGD on the cross entropy."""

    name = "spinquant"

    def loss(self, logits: torch.Tensor, batch: Batch, divergence: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy of the text, nats."""
        del divergence
        targets = batch.token_ids if batch.present is None else batch.token_ids.where(batch.present, _NO_TARGET)
        return torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=_NO_TARGET
        )

    def stepper(self, rotations: Rotations, scales: list[Scales] | None) -> Callable[[float], None]:
        """Return the Cayley step of every rotation."""
        del scales

        def step(factor: float) -> None:
            for matrix in rotations.all():
                if matrix.grad is not None:
                    matrix.copy_(cayley_step(matrix, matrix.grad, self._options["learning_rate"] * factor))

        return step
