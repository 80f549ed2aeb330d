"""The gates of one run together: which alarms hold up when there were many chances of a false one."""

from collections.abc import Sequence

from quantguard import stats
from quantguard.records import Verdict


def adjusted_p_values(verdicts: Sequence[Verdict]) -> tuple[float | None, ...]:
    """Return for each verdict its p-value of a drop by Holm's method over all of them, None where it has none.

    Where no gate's accuracy has fallen, any REGRESSED is at most alpha by these with probability alpha at most, however
    many gates there are. A verdict of a run that passed early counts with p = 1: its own was seen too often. PASS needs
    no such correction: a run is green only where every gate passes, so one wrong PASS among several is no more likely.
    """
    tested = [index for index, verdict in enumerate(verdicts) if verdict.p_drop is not None]
    adjusted = dict(zip(tested, stats.holm([_p_value(verdicts[index]) for index in tested]), strict=True))
    return tuple(adjusted.get(index) for index in range(len(verdicts)))


def _p_value(verdict: Verdict) -> float:
    early = verdict.n is not None and verdict.num_planned is not None and verdict.n < verdict.num_planned
    if verdict.p_drop is None or (early and verdict.outcome == "PASS"):
        return 1.0
    return verdict.p_drop
