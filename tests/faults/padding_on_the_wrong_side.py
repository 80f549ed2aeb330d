"""Prompts are filled up on the left where the cache wants them on the right."""

from quantguard.engines.transformers import continuous
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    read = continuous._Batch._read

    def padded(self: continuous._Batch, prompts: list[list[int]], *, slot: int, start: int) -> None:
        longest = max(map(len, prompts), default=0)
        read(self, [[0] * (longest - len(prompt)) + prompt for prompt in prompts], slot=slot, start=start)

    lab.patch.setattr(continuous._Batch, "_read", padded)
