"""Scoring what was generated, and the rates of a whole run."""

import collections
import concurrent.futures
import os
import statistics
from collections.abc import Callable, Sequence
from typing import Self

from quantguard import scorers
from quantguard.benchmarks import Benchmark
from quantguard.errors import MeasurementError
from quantguard.records import Generation, Sample, Score
from quantguard.scorers._known_answers import require_sound
from quantguard.scorers._reasoning_text import after_thinking, is_repeating
from quantguard.stats import pass_at_k


class Scoring:
    """Scores answers by the benchmark's scorer: one at a time beside the engine, the rest once that has ended.

    A thread of its own does it, so that an engine never waits for a program to end or a proof to be found. ``scored``
    is told of every score, from that thread or another. Raises MeasurementError where the scorer gets an answer wrong
    whose score is known.
    """

    def __init__(self, data: Benchmark, samples: Sequence[Sample], scored: Callable[[Score], None]) -> None:
        self._scorer = scorers.members[str(data.scorer)]
        known = scorers.members.able(str(data.scorer), scorers.Checkable)
        require_sound(self._scorer.score, () if known is None else known.KNOWN_ANSWERS, str(data.scorer))
        shared = scorers.members.able(str(data.scorer), scorers.Parallel)
        self._is_shared = shared is not None and shared.PARALLEL
        self._samples = {sample.id: sample for sample in samples}
        self._scored = scored
        self._beside = concurrent.futures.ThreadPoolExecutor(1)
        self._scores: dict[tuple[str, int], concurrent.futures.Future[Score]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._beside.shutdown(cancel_futures=True)

    def take(self, generation: Generation) -> None:
        """Score an answer as soon as those before it are."""
        key = (generation.sample_id, generation.epoch)
        self._scores[key] = self._beside.submit(self._score, generation)

    def finish(self, generations: Sequence[Generation]) -> tuple[Score, ...]:
        """Return the scores of answers that were taken, in their order, and raise what the scorer raised.

        Nothing else is going on any more, so a scorer that threads may share gets a thread for each core.
        """
        if not self._is_shared:
            return tuple(self._scores[generation.sample_id, generation.epoch].result() for generation in generations)
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for generation in generations:
                key = (generation.sample_id, generation.epoch)
                if self._scores[key].cancel():
                    self._scores[key] = pool.submit(self._score, generation)
            return tuple(self._scores[generation.sample_id, generation.epoch].result() for generation in generations)

    def _score(self, generation: Generation) -> Score:
        score = self._scorer.score(self._samples[generation.sample_id], generation)
        self._scored(score)
        return score


def how_scored(data: Benchmark) -> dict[str, str]:
    """Return what a record keeps of how answers were scored, such as the sandbox that ran programs."""
    scorer = scorers.members.able(data.scorer, scorers.Dependent) if data.scorer else None
    return {} if scorer is None else scorer.recorded()


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
