"""What is told of a run that is too good, or too much like another, to be taken without a look; it decides nothing."""

import collections
import statistics
from collections.abc import Mapping, Sequence

from quantguard import stats
from quantguard.records import RunRecord, Score

# Said of at most one run in a thousand in which nothing has changed, where items are independent and all of them run;
# looks at a run before its end make it at most as many thousandths as there are looks.
GAIN_LEVEL = 0.001
# Below so many answers, greedy ones of 8-bit weights are often the same to the letter.
MANY_ANSWERS = 100


def note_on_gain(
    candidate: Sequence[Score], other: Sequence[Score], *, named: str, clusters: Mapping[str, str] | None = None
) -> str | None:
    """Say that a run is better than the ``other``, ``named`` in words, beyond chance; None where it is not.

    The exact sign test over items, or over ``clusters`` of those that are not independent; what has no value in either
    run is left out.
    """
    before = {(score.sample_id, score.epoch): score.value for score in other}
    grouped: dict[str, list[float]] = collections.defaultdict(list)
    for score in candidate:
        old = before.get((score.sample_id, score.epoch))
        if score.value is not None and old is not None:
            group = score.sample_id if clusters is None else clusters[score.sample_id]
            grouped[group].append(score.value - old)
    changes = [sum(values) for values in grouped.values()]
    gained, lost = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    # The drop of the other run, seen from this one.
    p_value = stats.drop_p_value(stats.PairedCounts(gained=lost, lost=gained, n=len(changes)))
    if gained <= lost or p_value > GAIN_LEVEL:
        return None
    right = statistics.fmean(score.value for score in candidate if score.value is not None)
    every = ", every answer right" if right == 1 else ""
    return (
        f"{gained} gained and {lost} lost of {len(changes)} {'items' if clusters is None else 'clusters'}: better than"
        f" {named} beyond chance (sign test, p = {p_value:.2g}){every}. Quantization does not teach: look whether the"
        " scorer accepts what is wrong, or the prompt or the calibration text gives answers away"
    )


def note_on_sameness(candidate: Sequence[Score], reference: Sequence[Score]) -> str | None:
    """Say that a served model answers as full precision does, every one of many answers; None where it does not."""
    known = {(score.sample_id, score.epoch): score for score in reference}
    pairs = [(score, known.get((score.sample_id, score.epoch))) for score in candidate]
    if len(pairs) < MANY_ANSWERS or any(mine != theirs for mine, theirs in pairs):
        return None
    return (
        f"all {len(pairs)} answers have full precision's result and its number of tokens: look whether the server has"
        " two models, or answers as one whatever name it is asked by"
    )


def notes_on_full_precision(
    record: RunRecord, reference: Sequence[Score], clusters: Mapping[str, str] | None
) -> list[str]:
    """Say where a run is better than full precision can be, or where a served one is full precision itself."""
    gain = note_on_gain(record.scores, reference, named="full precision", clusters=clusters)
    same = note_on_sameness(record.scores, reference) if record.served else None
    return [note for note in (gain, same) if note]
