"""The verdict of a gate with several limits: all of them have to hold."""

import dataclasses
from collections.abc import Sequence

from quantguard.records import OUTCOMES, Verdict


def worst_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of the verdicts, with the reasons of all."""
    worst = max(verdicts, key=lambda verdict: OUTCOMES.index(verdict.outcome))
    return dataclasses.replace(worst, reason="; ".join(verdict.reason for verdict in verdicts))
