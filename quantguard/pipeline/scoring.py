"""Scoring what was generated."""

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from typing import Self

from quantguard import scorers
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
