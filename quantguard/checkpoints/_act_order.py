"""Scale groups that act-order rounding has spread over the inputs: the group of each input, int32 ``[in_features]``."""

import torch

from quantguard.checkpoints._stored import Values


def input_order(groups: torch.Tensor | None) -> torch.Tensor | None:
    """Return the inputs in the order of their groups; None where that is their own order."""
    if groups is None or bool((groups.diff() >= 0).all()):
        return None
    return torch.argsort(groups, stable=True)


def spread_groups(in_features: int, size: int) -> Values:
    """Return the rule that every group has ``size`` inputs, the last one what is left."""
    expected = torch.bincount(torch.arange(in_features) // size)

    def hold(found: torch.Tensor) -> torch.Tensor:
        inside = (found >= 0) & (found < len(expected))
        counts = torch.bincount(found[inside], minlength=len(expected))
        return inside & (counts == expected)[found.clamp(0, len(expected) - 1).long()]

    return Values(f"groups are from 0 to {len(expected) - 1}, of {size} inputs each and the last of the rest", hold)
