"""A sequence that takes a freed slot is left with the keys of the one before."""

from quantguard.modeling.slots import SlotCache
from tests.support.fault_lab import Lab

AREA = "KV cache"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    copy = SlotCache.copy

    def forgotten(self: SlotCache, source: int, target: slice, num_tokens: int) -> None:
        if source > target.start and source != self.layers[0]._shape[0] - 1:
            return
        copy(self, source, target, num_tokens)

    lab.patch.setattr(SlotCache, "copy", forgotten)
