"""Keys and values of answers are stored at their position modulo 200."""

import dataclasses

import torch

from quantguard.modeling import slots
from tests.support.fault_lab import Lab

AREA = "KV cache"
RECIPE = "w8a8"
EXPECTED = ("fidelity", "layerwise")


def plant(lab: Lab) -> None:
    write = slots._write

    def wrapped(buffer: torch.Tensor, new: torch.Tensor, window: slots.Window) -> None:
        if not isinstance(window.positions, int):
            window = dataclasses.replace(window, positions=window.positions % 200)
        write(buffer, new, window)

    lab.patch.setattr(slots, "_write", wrapped)
