"""Scoring what was generated."""

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from typing import Self

from quantguard import registry
from quantguard.benchmarks import Benchmark
from quantguard.records import Generation, Sample, Score
from quantguard.scorers._known_answers import require_sound


class Scoring:
    """Scores answers by the benchmark's scorer: one at a time beside the engine, the rest once that has ended.

    A thread of its own does it, so that an engine never waits for a program to end or a proof to be found. ``scored``
    is told of every score, from that thread or another. Raises MeasurementError where the scorer gets an answer wrong
    whose score is known.
    """

    def __init__(self, data: Benchmark, samples: Sequence[Sample], scored: Callable[[Score], None]) -> None:
        self._scorer = registry.scorers[str(data.scorer)]
        require_sound(self._scorer, str(data.scorer))
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
        if not getattr(self._scorer, "PARALLEL", False):
            return tuple(self._scores[generation.sample_id, generation.epoch].result() for generation in generations)
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for generation in generations:
                key = (generation.sample_id, generation.epoch)
                if self._scores[key].cancel():
                    self._scores[key] = pool.submit(self._score, generation)
            return tuple(self._scores[generation.sample_id, generation.epoch].result() for generation in generations)

    def _score(self, generation: Generation) -> Score:
        score: Score = self._scorer.score(self._samples[generation.sample_id], generation)
        self._scored(score)
        return score


def how_scored(data: Benchmark) -> dict[str, str]:
    """Return what a record keeps of how answers were scored, such as the sandbox that ran programs."""
    scorer = registry.scorers[data.scorer] if data.scorer else None
    facts: dict[str, str] = scorer.recorded() if scorer is not None and hasattr(scorer, "recorded") else {}
    return facts
