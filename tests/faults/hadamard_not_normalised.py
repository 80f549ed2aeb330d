"""The Hadamard matrices are not divided by the root of their order."""

from quantguard.numerics.hadamard import random_orthogonal
from quantguard.transforms import hadamard
from tests.support.fault_lab import Lab

AREA = "transforms"
RECIPE = "quarot-w8a8kv8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(
        hadamard, "random_orthogonal", lambda order, *, seed: random_orthogonal(order, seed=seed) * order**0.5
    )
