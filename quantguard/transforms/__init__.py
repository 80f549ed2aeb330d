"""Transforms rewrite a model so that it quantizes better, and keep the function that it computes.

The law for all: in float64 the logits move by less than 1e-10 of their size.
"""

from typing import Any, Protocol

from quantguard.records import Recipe
from quantguard.registry import Registry
from quantguard.transforms._transform import Transform

__all__ = ["Searchable", "Transform", "TransformFactory", "members"]


class TransformFactory(Protocol):
    """What a transform's file has: how the transform of a recipe is made."""

    @property
    def DEFAULTS(self) -> dict[str, Any]:
        """Its options with their usual values."""

    def create(self, recipe: Recipe, options: dict[str, Any]) -> Transform:
        """Return the transform, which says whether it scales norms and cancels such scales.

        Raises RecipeError for options that cannot be meant.
        """


class Searchable(Protocol):
    """A transform with hyper-parameters that ``quantguard tune`` searches."""

    @property
    def SEARCH_SPACE(self) -> dict[str, tuple[Any, ...]]:
        """Options with the values to try."""


members = Registry("transforms", TransformFactory, kind="transform", abilities=[Searchable])
