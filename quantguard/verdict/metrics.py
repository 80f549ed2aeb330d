"""The rates and means of a run, out of its scores and answers."""

import collections
import dataclasses
import statistics
from collections.abc import Sequence

from quantguard.errors import MeasurementError
from quantguard.records import Generation, RunRecord, Score
from quantguard.scorers._reasoning_text import after_thinking, is_repeating
from quantguard.stats import pass_at_k


def summarize(scores: Sequence[Score]) -> dict[str, float]:
    """Return accuracy, the rates of answers that say nothing, and mean tokens.

    Those are ``truncated``, ``unparsed``, ``timeout``, not compared in time, and ``unjudged``. Accuracy is the mean
    over all answers that were judged: pass@1, or avg@k of k epochs. With more epochs than one there are also its
    standard deviation over them and pass@k, the share of items that one of the k answers gets right.
    """
    judged = [score.value for score in scores if score.value is not None]
    if not judged:
        rules = ", ".join(sorted({score.explanation for score in scores}))
        raise MeasurementError(f"not one item could be judged: {rules or 'there are none'}")
    return _over_epochs(scores) | {
        "accuracy": statistics.fmean(judged),
        "truncated": statistics.fmean(score.explanation == "truncated" for score in scores),
        "unparsed": statistics.fmean(score.explanation == "unparsed" for score in scores),
        "timeout": statistics.fmean(score.explanation == "timeout" for score in scores),
        "unjudged": statistics.fmean(score.value is None for score in scores),
        "mean_num_tokens": statistics.fmean(score.num_tokens for score in scores),
    }


def _over_epochs(scores: Sequence[Score]) -> dict[str, float]:
    items, epochs = (collections.defaultdict[str | int, list[float]](list) for _ in range(2))
    for score in scores:
        if score.value is not None:
            items[score.sample_id].append(score.value)
            epochs[score.epoch].append(score.value)
    if len(epochs) == 1:
        return {}
    complete = [values for values in items.values() if len(values) == len(epochs)]
    k = len(epochs)
    passed = [pass_at_k(k, sum(value == 1 for value in values), k) for values in complete]
    deviation = statistics.stdev(statistics.fmean(values) for values in epochs.values())
    return {"accuracy_sd": deviation} | ({f"pass@{k}": statistics.fmean(passed)} if passed else {})


def reasoning(generations: Sequence[Generation]) -> dict[str, float]:
    """Return the rate of answers that run in a loop, and the mean lengths of thinking and of what follows it."""
    visible = [len(after_thinking(generation.text)) for generation in generations]
    return {
        "repeating": statistics.fmean(is_repeating(generation.text) for generation in generations),
        "mean_thinking_chars": statistics.fmean(len(g.text) - n for g, n in zip(generations, visible, strict=True)),
        "mean_answer_chars": statistics.fmean(visible),
    }


def with_length_ratio(record: RunRecord, reference: Sequence[Score]) -> RunRecord:
    """Add the length of the answers, where there are any, beside full precision's to the same items, in tokens."""
    if record.generation_config is None:
        return record
    lengths = {(score.sample_id, score.epoch): score.num_tokens for score in reference}
    pairs = [(s.num_tokens, lengths[s.sample_id, s.epoch]) for s in record.scores if (s.sample_id, s.epoch) in lengths]
    before = sum(old for _, old in pairs)
    metrics = record.metrics | ({"length_ratio": sum(new for new, _ in pairs) / before} if before else {})
    return dataclasses.replace(record, metrics=metrics)
