"""Transforms rewrite a model so that it quantizes better, and keep the function that it computes.

A member has ``create(recipe, options)``, which returns a :class:`Transform`. The law for all: in float64 the logits
move by less than 1e-10 of their size.
"""

from quantguard.transforms._transform import Transform

__all__ = ["Transform"]
