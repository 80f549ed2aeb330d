"""OSTQuant (Hu et al., arXiv 2501.13987): learned pairs of orthogonal and scaling transforms that fold away.

As SpinQuant, with two differences. Behind the rotation of the residual stream every input of q, k, v and of gate,
up has a learned diagonal, which folds into the norm (whose own scale went into the weights) and into the weights.
And what is minimised is not the cross entropy but the divergence from the float network over the tokens that it holds
most likely, the KL-top loss (eq. 9): ``KL(softmax(float logits of the top k) || softmax(quantized logits of
those))``. The rotations move by Riemannian Adam, the logarithms of the scales by Adam.
"""

from typing import Any

import torch

from quantguard.errors import RecipeError
from quantguard.modeling import Activations, Batch, BlockCalibration, Decoder
from quantguard.modeling.folding import divide_input
from quantguard.modeling.rotating import rotate_ends
from quantguard.numerics.stiefel import RiemannianAdam
from quantguard.recipes.options import settings
from quantguard.records import Recipe
from quantguard.transforms import _learned_rotation as shared
from quantguard.transforms._transform import Transform

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


class OSTQuant(Transform):
    """Rotations and scales learned on the whole model."""

    learns = True

    def __init__(self, recipe: Recipe, options: dict[str, Any]) -> None:
        self._recipe, self._options = recipe, options
        self._rotations: shared.Rotations | None = None
        self._scales: list[shared.Scales] = []
        self._losses: tuple[float, ...] = ()
        self._rolled_back = False
        self._index = 0

    def learn(self, decoder: Decoder, activations: Activations) -> None:
        """Descend on rotations and scales; the norms of the model are folded on the way, which changes no output."""
        shared.fold_all_norms(decoder)
        rotations = shared.Rotations.drawn(decoder, seed=self._options["seed"])
        width = decoder.hidden_size
        scales = [shared.Scales(qkv=torch.zeros(width), gate_up=torch.zeros(width)) for _ in decoder.blocks]
        logarithms = [tensor for pair in scales for tensor in (pair.qkv, pair.gate_up)]
        batches = [part for batch in activations.batches for part in batch.split(self._options["batch_size"])]
        targets = self._float_targets(decoder, batches)
        descent = shared.Descent(
            method="ostquant",
            leaves=[*rotations.all(), *logarithms],
            loss_of=lambda batch: _kl_top(shared.next_token_logits(decoder, batch), *targets[id(batch)]),
            step=self._stepper(rotations, logarithms),
            num_steps=self._options["steps"],
        )
        simulation = shared.RotatedSimulation(decoder, self._recipe, rotations, scales)
        self._losses, self._rolled_back = descent.run(simulation, batches)
        self._rotations, self._scales = rotations, scales

    def _float_targets(self, decoder: Decoder, batches: list[Batch]) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """Return, by batch, the top logits of the float network and the tokens that they belong to."""
        count = min(self._options["top_k"], decoder.head.out_features)
        with torch.no_grad():
            found = (shared.next_token_logits(decoder, batch).topk(count, dim=-1) for batch in batches)
            return {id(batch): (top.values, top.indices) for batch, top in zip(batches, found, strict=True)}

    def _stepper(self, rotations: shared.Rotations, logarithms: list[torch.Tensor]) -> Any:
        rotation_rate, scale_rate = self._options["rotation_learning_rate"], self._options["scale_learning_rate"]
        riemannian = [RiemannianAdam(rotation_rate) for _ in rotations.all()]
        euclidean = torch.optim.Adam(logarithms, lr=scale_rate)

        def step(factor: float) -> None:
            for matrix, optimizer in zip(rotations.all(), riemannian, strict=True):
                if matrix.grad is not None:
                    matrix.copy_(optimizer.step(matrix, matrix.grad, factor=factor))
            for group in euclidean.param_groups:
                group["lr"] = scale_rate * factor
            euclidean.step()

        return step

    def prepare(self, decoder: Decoder) -> None:
        """Rotate the embedding and the head."""
        rotate_ends(decoder, self._learned().stream)

    def apply(self, calibration: BlockCalibration) -> None:
        """Fold the rotations and the scales into a block."""
        shared.fold_rotations(
            calibration, self._learned(), self._index, quantizes_keys=self._recipe.kv_cache is not None
        )
        block, scales = calibration.block, self._scales[self._index]
        divide_input(block.groups[0], (-scales.qkv.double()).exp())
        divide_input(block.groups[2], (-scales.gate_up.double()).exp())
        calibration.changed()
        if self._index == 0:
            calibration.losses = self._losses
            calibration.rolled_back = ("ostquant",) if self._rolled_back else ()
        self._index += 1

    def _learned(self) -> shared.Rotations:
        if self._rotations is None:
            raise RecipeError("ostquant learns on the whole model, and has not been shown it")
        return self._rotations


def _kl_top(logits: torch.Tensor, top: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mean divergence over the float network's top tokens, nats; all float32 ``[sequences, tokens, k]``."""
    found = logits.gather(-1, tokens).log_softmax(dim=-1)
    return torch.nn.functional.kl_div(found, top.log_softmax(dim=-1), reduction="none", log_target=True).sum(-1).mean()
