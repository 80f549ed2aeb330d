"""Roundings turn one float weight into integers.

The law for all: on correlated inputs the layer's output error is no worse than that of ``nearest``.
"""

from typing import Any, Protocol

import torch

from quantguard.modeling import InputStats
from quantguard.numerics import FakeQuantTensor, QuantTensor
from quantguard.records import QuantArgs
from quantguard.registry import Registry

__all__ = ["Rounding", "members"]


class Rounding(Protocol):
    """What a rounding has."""

    @property
    def NEEDS_GRAM(self) -> bool:
        """Whether it takes the Gram matrix of the inputs, so that a model has to be calibrated."""

    @property
    def WEIGHT_TYPES(self) -> tuple[str, ...]:
        """The types of ``QuantArgs`` that it makes weights of."""

    def quantize_weight(
        self,
        weight: torch.Tensor,
        args: QuantArgs,
        *,
        stats: InputStats | None,
        options: dict[str, Any],
        clip: torch.Tensor | None = None,
    ) -> QuantTensor | FakeQuantTensor:
        """Quantize a float weight of shape ``[out_features, in_features]``.

        ``options`` are those of the recipe; ``clip`` are learned shares of the range, of a shape that multiplies with
        the weight. Raises RecipeError for options that it does not have.
        """


members = Registry("rounding", Rounding, kind="rounding")
