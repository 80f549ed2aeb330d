"""One record out of the blocks that a run was made in."""

import dataclasses
import statistics
from collections.abc import Sequence

from quantguard.errors import MeasurementError
from quantguard.pipeline.scoring import reasoning, summarize
from quantguard.records import RunRecord


def join(records: Sequence[RunRecord]) -> RunRecord:
    """Return the record of all blocks of one run, epoch by epoch; its rates are those of all answers.

    Raises MeasurementError for blocks of different runs, and for an answer that two of them have.
    """
    first = records[0]
    if len(records) == 1:
        return first
    if different := sorted({d.name for record in records for d in first.fingerprint.differences(record.fingerprint)}):
        raise MeasurementError(f"blocks of one run differ in {', '.join(different)}: something changed while it ran")
    seen = [(score.sample_id, score.epoch) for record in records for score in record.scores]
    if len(set(seen)) != len(seen):
        raise MeasurementError("two blocks of one run have an answer to the same item")
    scores = tuple(sorted((s for record in records for s in record.scores), key=lambda score: score.epoch))
    generations = tuple(sorted((g for record in records for g in record.generations), key=lambda item: item.epoch))
    if generations:
        metrics = summarize(scores) | reasoning(generations)
    else:
        weights = [len(record.scores) for record in records]
        metrics = {
            name: statistics.fmean([record.metrics[name] for record in records], weights) for name in first.metrics
        }
    notes = tuple(dict.fromkeys(note for record in records for note in record.notes))
    return dataclasses.replace(first, scores=scores, generations=generations, metrics=metrics, notes=notes)
