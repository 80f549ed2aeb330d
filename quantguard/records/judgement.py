"""The verdict on a run."""

import dataclasses
from typing import Literal

from quantguard.records.evaluation import Score

# UNSTABLE is a measurement that says more of the machine than of the model: it decides nothing, and is never green.
Outcome = Literal["PASS", "REGRESSED", "INCONCLUSIVE", "UNSTABLE", "ERROR"]
# A bound on the far side of the margin, or an estimate beyond it with a drop that is significant.
Basis = Literal["proven", "significant"]
# From best to worst.
OUTCOMES: tuple[Outcome, ...] = ("PASS", "INCONCLUSIVE", "UNSTABLE", "REGRESSED", "ERROR")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a metric is still good, with the numbers behind it; see each judging function for their units.

    ``delta`` is candidate minus baseline, ``ci_low`` and ``ci_high`` its one-sided bounds, ``margin`` what is
    tolerated and ``n`` the number of pairs, of ``num_planned`` where a run may end early. ``p_drop`` is the one-sided
    p-value of any drop at all, and ``basis`` what a decision rests on. All are absent on ERROR, the last three also
    where a metric has none.
    """

    outcome: Outcome
    metric: str
    reason: str
    delta: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    margin: float | None = None
    n: int | None = None
    num_planned: int | None = None
    p_drop: float | None = None
    basis: Basis | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counterpart:
    """What the other run of a comparison made of an item that came out differently.

    ``text`` is what it wrote, absent where only the score was kept.
    """

    score: Score
    text: str | None = None
