"""Notes on runs that are suspiciously good, or suspiciously equal to another; they decide nothing."""

import collections
import statistics
from collections.abc import Mapping, Sequence

from quantguard import stats
from quantguard.records import RunRecord, Score

# The note appears on at most one in a thousand unchanged runs, if items are independent and all of them run; with
# interim analyses, on at most as many thousandths as there are analyses.
GAIN_LEVEL = 0.001
# With fewer answers, greedy decoding with 8-bit weights often gives the very same text.
MANY_ANSWERS = 100


def note_on_gain(
    candidate: Sequence[Score], other: Sequence[Score], *, named: str, clusters: Mapping[str, str] | None = None
) -> str | None:
    """Return a note if a run is better than the ``other`` beyond chance, or None; ``named`` is the other's name.

    The test is the exact sign test over items, or over ``clusters`` of dependent items; items without a value in either
    run are left out.
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
    # A gain of this run is a drop of the other one, so the counts change places.
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


def note_on_equal_answers(candidate: Sequence[Score], reference: Sequence[Score]) -> str | None:
    """Return a note if all of a served model's many answers equal full precision's, or None."""
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
    same = note_on_equal_answers(record.scores, reference) if record.served else None
    return [note for note in (gain, same) if note]
