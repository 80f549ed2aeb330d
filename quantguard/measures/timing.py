"""Timing two models in turn, in blocks of A B B A, so that a drift of the machine's speed falls on both alike."""

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator

import torch

from quantguard.errors import MeasurementError
from quantguard.measures import Models
from quantguard.modeling import LoadedModel
from quantguard.modeling.integer_cache import new_cache
from quantguard.records import TimedBlock

_WARM_UP_RUNS = 3
# A call that is shorter is timed several times in a row, so that one timing is no blink of the scheduler.
SHORTEST_SECONDS = 0.005
Clock = Callable[[], float]
Work = Callable[[], object]


@contextlib.contextmanager
def measure(models: Models, *, stage: str, num_tokens: int) -> Iterator[Callable[[int], list[TimedBlock]]]:
    """Have the machine's timing to oneself, and yield what times a number of blocks; see ``stopwatch``."""
    with models.alone(), stopwatch(models.reference, models.candidate, stage, num_tokens=num_tokens) as time_blocks:
        yield time_blocks


@contextlib.contextmanager
def stopwatch(
    reference: LoadedModel, candidate: LoadedModel, stage: str, *, num_tokens: int, clock: Clock = time.perf_counter
) -> Iterator[Callable[[int], list[TimedBlock]]]:
    """Warm both models up and yield what times a number of blocks.

    ``prefill`` reads ``num_tokens`` tokens at batch 1; ``decode`` adds one token behind them. ``clock`` returns
    seconds. Raises MeasurementError for more tokens than the model has room for.
    """
    longest = candidate.model.config.max_position_embeddings
    if num_tokens >= longest:
        raise MeasurementError(
            f"num_tokens is {num_tokens}; the context of {candidate.name} has room for {longest - 1}"
        )
    make = {"prefill": _prefill, "decode": _decode}[stage]
    with torch.inference_mode(), _without_collector():
        works = make(reference, num_tokens), make(candidate, num_tokens)
        timers = [_Timer(work, loaded, clock) for work, loaded in zip(works, (reference, candidate), strict=True)]
        num_calls = _calls_worth_timing(timers)
        yield lambda num_blocks: [time_block(*timers, num_calls=num_calls) for _ in range(num_blocks)]


class _Timer:
    """One model's work with the clock that it is timed by."""

    def __init__(self, work: Work, loaded: LoadedModel, clock: Clock) -> None:
        self._work, self._loaded, self._clock = work, loaded, clock

    def seconds(self, num_calls: int) -> float:
        """Return the seconds of a call, the device's queue empty before the first and after the last of them."""
        _synchronize(self._loaded)
        started = self._clock()
        for _ in range(num_calls):
            self._work()
        _synchronize(self._loaded)
        return (self._clock() - started) / num_calls


def time_block(reference: _Timer, candidate: _Timer, *, num_calls: int) -> TimedBlock:
    """Time A B B A."""
    first = reference.seconds(num_calls)
    between = candidate.seconds(num_calls), candidate.seconds(num_calls)
    return TimedBlock(reference_seconds=(first, reference.seconds(num_calls)), candidate_seconds=between)


def _calls_worth_timing(timers: list[_Timer]) -> int:
    """Run both models warm; return how many calls of the faster take long enough to be timed, the same for both."""
    fastest = min(timer.seconds(1) for _ in range(_WARM_UP_RUNS) for timer in timers)
    return max(1, math.ceil(SHORTEST_SECONDS / fastest))


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the collector of cycles, which runs when it likes and for milliseconds, out of the timings."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _prefill(loaded: LoadedModel, num_tokens: int) -> Work:
    ids = torch.arange(num_tokens, device=loaded.model.device)[None] % loaded.model.config.vocab_size
    return lambda: loaded.model(input_ids=ids, use_cache=False, logits_to_keep=1)


def _decode(loaded: LoadedModel, num_tokens: int) -> Work:
    ids = torch.arange(num_tokens + 1, device=loaded.model.device)[None] % loaded.model.config.vocab_size
    # Of integers where the candidate keeps its keys and values so: storing and restoring them is part of its step.
    cache = new_cache(loaded.model)
    # Each step is taken back, which a sliding window would have forgotten otherwise.
    cache.activate_past_recording()
    loaded.model(input_ids=ids[:, :-1], past_key_values=cache, logits_to_keep=1)

    def step() -> None:
        loaded.model(input_ids=ids[:, -1:], past_key_values=cache, logits_to_keep=1)
        cache.crop(-1)

    return step


def _synchronize(loaded: LoadedModel) -> None:
    if loaded.device_type != "cpu":
        torch.accelerator.synchronize(loaded.model.device)
