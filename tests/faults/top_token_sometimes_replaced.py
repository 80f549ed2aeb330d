"""One token in a hundred is the second best."""

import random

import torch

from quantguard.engines.transformers import decoding
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    rng = random.Random(0)
    extend = decoding.Decoding.extend

    def noisy(self: decoding.Decoding, rows: list[decoding.Row], logits: torch.Tensor) -> None:
        logits = logits.clone()
        for row in range(len(rows)):
            if rng.random() < 0.01:
                logits[row, logits[row].argmax()] = -100.0
        extend(self, rows, logits)

    lab.patch.setattr(decoding.Decoding, "extend", noisy)
