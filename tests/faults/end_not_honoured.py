"""Answers go on behind the token that ends them."""

from typing import Any

from quantguard.engines.transformers import decoding
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("reasoning",)


def plant(lab: Lab) -> None:
    create = decoding.Decoding.__init__

    def endless(self: decoding.Decoding, *args: Any) -> None:
        create(self, *args)
        self._stop_ids = set()

    lab.patch.setattr(decoding.Decoding, "__init__", endless)
