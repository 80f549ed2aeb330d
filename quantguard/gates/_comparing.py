"""Keeping of a comparison what a reader wants to see: the items that came out differently, not the whole other run."""

import dataclasses
from collections.abc import Iterable, Sequence

from quantguard.gates._session import GateResult
from quantguard.records import Counterpart, Generation, Score


def beside(
    result: GateResult, against: str, scores: Sequence[Score], *, path: str, generations: Iterable[Generation] = ()
) -> GateResult:
    """Return the result with what the run ``against`` made of the items that its record scored differently.

    ``path`` is the baseline's; ``generations`` are what that run wrote, where they are at hand.
    """
    values = {(s.sample_id, s.epoch): s.value for s in result.record.scores} if result.record is not None else {}
    texts = {(generation.sample_id, generation.epoch): generation.text for generation in generations}
    counterparts = tuple(
        Counterpart(score=score, text=texts.get((score.sample_id, score.epoch)))
        for score in scores
        if _differ(score.value, values.get((score.sample_id, score.epoch)))
    )
    return dataclasses.replace(result, against=against, baseline=path, counterparts=counterparts)


def _differ(before: float | None, now: float | None) -> bool:
    """Tell whether both were judged, and not alike."""
    return before is not None and now is not None and before != now
