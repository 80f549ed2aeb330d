"""A sequence that moves to another slot of the cache loses its last token."""

from quantguard.modeling.slots import SlotCache
from tests.support.fault_lab import Lab

AREA = "KV cache"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    copy = SlotCache.copy

    def short(self: SlotCache, source: int, target: slice, num_tokens: int) -> None:
        copy(self, source, target, num_tokens - 1)

    lab.patch.setattr(SlotCache, "copy", short)
