"""SmoothQuant (Xiao et al., arXiv 2211.10438): move activation outliers into the weights that read them.

For each input channel j, eq. 4: ``s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)``; the norm in front is divided by
``s``, the weights that read it are multiplied.
"""

from typing import Any

import torch

from quantguard.errors import RecipeError
from quantguard.modeling import Block, InputStats
from quantguard.modeling.structure import LinearGroup
from quantguard.recipes.options import settings

DEFAULTS = {"alpha": 0.5}
SMALLEST = 1e-5


def apply(blocks: list[Block], stats: dict[str, InputStats], options: dict[str, Any]) -> dict[str, InputStats]:
    """Smooth the input of every group of linears that follows a norm: q, k, v and gate, up.

    Raises RecipeError for an alpha outside 0..1.
    """
    alpha = float(settings("smoothquant", DEFAULTS, options)["alpha"])
    if not 0 <= alpha <= 1:
        raise RecipeError(
            f"smoothquant: alpha is {alpha}; 0 leaves activations alone, 1 moves everything into the weights"
        )
    smoothed = dict(stats)
    for group in (group for block in blocks for group in block.groups if group.norm is not None):
        before = stats[group.names[0]]
        divisor = smoothing_divisor(group, before.absmax, alpha)
        _fold(group, divisor)
        after = before.rescaled(divisor)
        smoothed.update(dict.fromkeys(group.names, after))
    return smoothed


def smoothing_divisor(group: LinearGroup, absmax: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return what each channel of a group's input is divided by, float64 ``[in_features]``."""
    weight_max = torch.stack([linear.weight.detach().abs().amax(dim=0) for linear in group.linears]).amax(dim=0)
    activations = absmax.double().clamp_min(SMALLEST)
    return (activations**alpha / weight_max.double().clamp_min(SMALLEST) ** (1 - alpha)).clamp_min(SMALLEST)


@torch.no_grad()
def _fold(group: LinearGroup, divisor: torch.Tensor) -> None:
    assert group.norm is not None
    for name in ("weight", "bias"):
        parameter = getattr(group.norm, name, None)
        if parameter is not None:
            parameter.copy_(parameter.double() / divisor)
    for linear in group.linears:
        linear.weight.copy_(linear.weight.double() * divisor)
