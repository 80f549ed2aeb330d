"""Several gates in one run: p-values that are corrected for the many chances of a false alarm."""

from collections.abc import Sequence

from quantguard import stats
from quantguard.records import Verdict


def adjusted_p_values(verdicts: Sequence[Verdict]) -> tuple[float | None, ...]:
    """Return each verdict's p-value of a drop, adjusted by Holm's method over all of them; None if it has none.

    If no gate's accuracy has fallen, the probability that any adjusted p-value is at most alpha is at most alpha,
    however many gates there are. A run that stopped early with PASS counts with p = 1, since its p-value was looked at
    several times. PASS needs no correction: a run is green only if every gate passes, so one wrong PASS among several
    is no more likely.
    """
    tested = [index for index, verdict in enumerate(verdicts) if verdict.p_drop is not None]
    adjusted = dict(zip(tested, stats.holm([_p_value(verdicts[index]) for index in tested]), strict=True))
    return tuple(adjusted.get(index) for index in range(len(verdicts)))


def _p_value(verdict: Verdict) -> float:
    early = verdict.n is not None and verdict.num_planned is not None and verdict.n < verdict.num_planned
    if verdict.p_drop is None or (early and verdict.outcome == "PASS"):
        return 1.0
    return verdict.p_drop
