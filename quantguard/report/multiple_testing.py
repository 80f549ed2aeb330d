"""Significant drops corrected for multiple testing: many gates in one run have many chances of a false alarm."""

from collections.abc import Sequence

from quantguard.gates import GateResult
from quantguard.verdict import adjusted_p_values

ALPHA = 0.05


def multiple_testing_lines(results: Sequence[GateResult]) -> list[str]:
    """Describe each significant drop after Holm's correction over all gates of the run; empty for a single gate.

    Outcomes do not change: a gate's own error rate holds for that gate. The lines say how likely it is that one of many
    gates is red by chance.
    """
    judged = [result for result in results if result.pending is None and result.verdict.p_drop is not None]
    if len(judged) < 2:
        return []
    adjusted = adjusted_p_values([result.verdict for result in judged])
    return [
        _line(result, value, len(judged))
        for result, value in zip(judged, adjusted, strict=True)
        if result.verdict.basis == "significant" and value is not None
    ]


def _line(result: GateResult, adjusted: float, count: int) -> str:
    subject = f"{result.gate}: {result.subject} on {result.model}, {result.recipe}"
    change = f"p = {result.verdict.p_drop:.2g} is {adjusted:.2g} when all {count} gates of this run are counted (Holm)"
    if adjusted <= ALPHA:
        return f"{subject}: {change}: the drop holds up"
    return (
        f"{subject}: {change}: among so many gates one such drop may be chance. The gate stays REGRESSED; run it alone,"
        " on more items, before you believe it"
    )
