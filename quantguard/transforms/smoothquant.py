"""SmoothQuant (Xiao et al., arXiv 2211.10438): move activation outliers into the weights that read them.

For each input channel j, eq. 4: ``s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)``; the norm in front is divided by
``s``, the weights that read it are multiplied. ``all_pairs`` adds what the paper leaves out and vendors' tools do:
values before o_proj (one factor for the query heads that share a key-value head, the largest) and up_proj before
down_proj.
"""

from typing import Any

import torch

from quantguard.errors import RecipeError
from quantguard.modeling import Block, BlockCalibration, LinearGroup
from quantguard.modeling.folding import (
    divide_input,
    divide_mlp_input,
    divide_value_heads,
    expand_to_query_heads,
    smoothing_divisor,
)
from quantguard.recipes.options import settings
from quantguard.records import Recipe
from quantguard.transforms._transform import Transform

DEFAULTS = {"alpha": 0.5, "all_pairs": False}


def create(recipe: Recipe, options: dict[str, Any]) -> "SmoothQuant":
    """Return the transform; raise RecipeError for an alpha outside 0..1."""
    del recipe
    return SmoothQuant(**settings("smoothquant", DEFAULTS, options))


class SmoothQuant(Transform):
    """Smoothing with one ``alpha`` for all layers."""

    scales_norms = True
    cancels_scales = "chooses the scale anew from magnitudes that the old one is in"

    def __init__(self, *, alpha: float, all_pairs: bool) -> None:
        if not 0 <= alpha <= 1:
            raise RecipeError(
                f"smoothquant: alpha is {alpha}; 0 leaves activations alone, 1 moves everything into the weights"
            )
        self.alpha = alpha
        self.all_pairs = all_pairs

    def apply(self, calibration: BlockCalibration) -> None:
        """Smooth the input of q, k, v and of gate, up, and with ``all_pairs`` that of o and down."""
        block = calibration.block
        qkv, output, gate_up, down = block.groups
        for group in (qkv, gate_up):
            divisor = self._divisor(calibration, group)
            divide_input(group, divisor)
            calibration.rescaled(group, divisor)
        if self.all_pairs:
            heads = _largest_of_shared(block, self._divisor(calibration, output))
            divide_value_heads(block, heads)
            calibration.rescaled(output, expand_to_query_heads(block, heads))
            divisor = self._divisor(calibration, down)
            divide_mlp_input(block, divisor)
            calibration.rescaled(down, divisor)

    def _divisor(self, calibration: BlockCalibration, group: LinearGroup) -> torch.Tensor:
        return smoothing_divisor(group, calibration.stats(group, gram=False).absmax, self.alpha)


def _largest_of_shared(block: Block, divisor: torch.Tensor) -> torch.Tensor:
    """Reduce ``[heads * head_dim]`` to the key-value heads."""
    return divisor.view(block.num_key_value_heads, -1, block.head_dim).amax(dim=1).reshape(-1)
