"""OSTQuant (Hu et al., arXiv 2501.13987): learned pairs of orthogonal and scaling transforms that fold away.

As SpinQuant, with two differences. Behind the rotation of the residual stream every input of q, k, v and of gate,
up has a learned diagonal, which folds into the norm (whose own scale went into the weights) and into the weights.
And what is minimised is not the cross entropy but the divergence from the float network over the tokens that it holds
most likely, the KL-top loss (eq. 9): ``KL(softmax(float logits of the top k) || softmax(quantized logits of
those))``. The rotations move by Riemannian Adam, the logarithms of the scales by Adam.
"""

from collections.abc import Callable
from typing import Any

import torch

from quantguard.errors import RecipeError
from quantguard.modeling import Batch, Decoder
from quantguard.numerics.stiefel import RiemannianAdam
from quantguard.recipes.options import settings
from quantguard.records import Recipe
from quantguard.transforms._learned_rotation import LearnedRotation
from quantguard.transforms._rotated_simulation import Rotations, Scales

DEFAULTS = {
    "rotation_learning_rate": 0.02,
    "scale_learning_rate": 2e-3,
    "steps": 100,
    "batch_size": 1,
    "top_k": 1000,
    "seed": 0,
}


def create(recipe: Recipe, options: dict[str, Any]) -> "OSTQuant":
    """Return the transform; raise RecipeError for options that cannot be meant."""
    chosen = settings("ostquant", DEFAULTS, options)
    if min(chosen[name] for name in DEFAULTS if name != "seed") <= 0:
        raise RecipeError("ostquant: learning rates, steps, batch_size and top_k must be above 0")
    return OSTQuant(recipe, chosen)


class OSTQuant(LearnedRotation):
    """Rotations and scales learned on the KL-top loss."""

    name = "ostquant"
    scales_norms = True

    def draw_scales(self, decoder: Decoder) -> list[Scales]:
        """Start from no scaling."""
        width = decoder.hidden_size
        return [Scales(qkv=torch.zeros(width), gate_up=torch.zeros(width)) for _ in decoder.blocks]

    def loss(self, logits: torch.Tensor, batch: Batch, divergence: torch.Tensor) -> torch.Tensor:
        """Return the divergence itself."""
        del logits, batch
        return divergence

    def stepper(self, rotations: Rotations, scales: list[Scales] | None) -> Callable[[float], None]:
        """Return a step of Riemannian Adam for the rotations and of Adam for the logarithms of the scales."""
        rotation_rate, scale_rate = self._options["rotation_learning_rate"], self._options["scale_learning_rate"]
        riemannian = [RiemannianAdam(rotation_rate) for _ in rotations.all()]
        euclidean = torch.optim.Adam([t for pair in scales or () for t in (pair.qkv, pair.gate_up)], lr=scale_rate)

        def step(factor: float) -> None:
            for matrix, optimizer in zip(rotations.all(), riemannian, strict=True):
                if matrix.grad is not None:
                    matrix.copy_(optimizer.step(matrix, matrix.grad, factor=factor))
            for group in euclidean.param_groups:
                group["lr"] = scale_rate * factor
            euclidean.step()

        return step
