"""What a run that goes on amounts to so far, in a few words."""

from collections.abc import Mapping, Sequence

from quantguard.records import Score
from quantguard.verdict import AccuracyRule, interim_evidence


def change_so_far(
    scores: Sequence[Score], *, baseline: Sequence[Score], rule: AccuracyRule, clusters: Mapping[str, str] | None
) -> str:
    """Return the change of accuracy in points with both bounds of the rule's level; empty where nothing is to say.

    It is no look at the run: nothing is decided by it.
    """
    evidence = interim_evidence(scores, baseline, rule=rule, clusters=clusters)
    if evidence is None:
        return ""
    delta, low, high = (f"{100 * value:+.1f}" for value in (evidence.delta, evidence.low, evidence.high))
    return f"{delta} points ({low} to {high})"
