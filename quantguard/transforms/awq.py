"""AWQ's scale search (Lin et al., arXiv 2306.00978): let the weights of salient channels round more finely.

For each group of linears, eq. 4 and 5: input channels are divided by ``s = mean|X|^r`` and weights multiplied, with the
ratio r of a grid over 0..1 that leaves the smallest output error ``||Q(W s) s^-1 X - W X||²``. The error over all
calibration tokens follows from the inputs' Gram matrix alone, so no token is run again. Ratio 0 changes nothing, so no
group is made worse. The clip search is the rounding ``awq-clip``.
"""

from typing import Any

import torch

from quantguard.errors import RecipeError
from quantguard.modeling import BlockCalibration, LinearGroup
from quantguard.modeling.folding import by_shared_head, divide, expand_to_query_heads
from quantguard.modeling.sites import INPUTS, InputSite
from quantguard.numerics import fake_quantize
from quantguard.recipes.options import settings
from quantguard.records import QuantArgs, Recipe
from quantguard.transforms._transform import Transform

DEFAULTS = {"grid": 20}
SMALLEST = 1e-4


def create(recipe: Recipe, options: dict[str, Any]) -> "AWQ":
    """Return the transform; raise RecipeError for a grid of fewer than two ratios."""
    return AWQ(recipe, **settings("awq", DEFAULTS, options))


class AWQ(Transform):
    """The search with ``grid`` ratios."""

    scales_norms = True

    def __init__(self, recipe: Recipe, *, grid: int) -> None:
        if grid < 2:
            raise RecipeError(f"awq: grid is {grid}; at least 2 ratios are compared")
        self._recipe = recipe
        self._ratios = tuple(step / grid for step in range(grid))

    @torch.no_grad()
    def apply(self, calibration: BlockCalibration) -> None:
        """Scale the inputs of all groups of a block."""
        for site in INPUTS:
            divisor = self._search(calibration, site)
            if site.absorbs == "heads":
                divisor = by_shared_head(calibration.block, divisor)[:, 0].reshape(-1)
            factor = divide(calibration.block, site, divisor)
            calibration.rescaled(calibration.block.groups[site.group], factor)

    def _search(self, calibration: BlockCalibration, site: InputSite) -> torch.Tensor:
        """Return the best divisor, float64 ``[in_features]``; of values alike for heads that share them."""
        block = calibration.block
        group = block.groups[site.group]
        stats = calibration.stats(group, gram=True)
        assert stats.gram is not None
        magnitude = stats.mean_abs.double().clamp_min(SMALLEST)
        if site.absorbs == "heads":
            magnitude = expand_to_query_heads(block, by_shared_head(block, magnitude).mean(dim=1).reshape(-1))
        candidates = [_balanced(magnitude**ratio) for ratio in self._ratios]
        losses = [self._loss(group, stats.gram, divisor) for divisor in candidates]
        return candidates[losses.index(min(losses))]

    def _loss(self, group: LinearGroup, gram: torch.Tensor, divisor: torch.Tensor) -> float:
        scale, loss = divisor.float(), 0.0
        for name, linear in zip(group.names, group.linears, strict=True):
            args = self._weights(name)
            if args is not None:
                weight = linear.weight.float()
                error = fake_quantize(weight * scale, args) / scale - weight
                loss += float((error @ gram * error).sum())
        return loss

    def _weights(self, name: str) -> QuantArgs | None:
        args = self._recipe.layer_args(name)
        return args.weights if args else None


def _balanced(divisor: torch.Tensor) -> torch.Tensor:
    return divisor / (divisor.max() * divisor.min()).sqrt()
