"""SmoothQuant (Xiao et al., arXiv 2211.10438): move activation outliers into the weights that read them.

For each input channel j, eq. 4: ``s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)``; the norm in front is divided by
``s``, the weights that read it are multiplied. ``all_pairs`` adds what the paper leaves out and vendors' tools do:
values before o (one factor for the query heads that share a key-value head, the largest) and up before down.
"""

from typing import Any

import torch

from quantguard.errors import RecipeError
from quantguard.modeling import BlockCalibration
from quantguard.modeling.folding import by_shared_head, divide, smoothing_divisor
from quantguard.modeling.sites import INPUTS, InputSite
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
        for site in INPUTS:
            if site.norms or self.all_pairs:
                factor = divide(calibration.block, site, self._divisor(calibration, site))
                calibration.rescaled(calibration.block.groups[site.group], factor)

    def _divisor(self, calibration: BlockCalibration, site: InputSite) -> torch.Tensor:
        group = calibration.block.groups[site.group]
        divisor = smoothing_divisor(group, calibration.stats(group, gram=False).absmax, self.alpha)
        if site.absorbs == "heads":
            return by_shared_head(calibration.block, divisor).amax(dim=1).reshape(-1)
        return divisor
