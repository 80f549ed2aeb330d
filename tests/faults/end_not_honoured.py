"""Answers go on behind the token that ends them."""

from _lab import Lab

from quantguard.engines import _decoding

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("reasoning",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(_decoding, "_stop_ids", lambda _loaded: set())
