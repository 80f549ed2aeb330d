"""Timing two models in turn: A B B A, so that a drift of the machine's speed falls on both alike."""

import math
import time
from collections.abc import Callable

import torch
import transformers

from quantguard.errors import MeasurementError
from quantguard.modeling import LoadedModel

_WARM_UP_RUNS = 3


def log_speedups(
    reference: LoadedModel, candidate: LoadedModel, stage: str, *, num_pairs: int, num_tokens: int
) -> list[float]:
    """Return ``log(t_reference / t_candidate)`` for each of ``num_pairs`` adjacent pairs of runs.

    ``prefill`` reads ``num_tokens`` tokens at batch 1; ``decode`` adds one token behind them.
    """
    longest = candidate.model.config.max_position_embeddings
    if num_tokens >= longest:
        raise MeasurementError(
            f"num_tokens is {num_tokens}; the context of {candidate.name} has room for {longest - 1}"
        )
    make = {"prefill": _prefill, "decode": _decode}[stage]
    runs = (make(reference, num_tokens), make(candidate, num_tokens))
    with torch.inference_mode():
        for timed in runs * _WARM_UP_RUNS:
            timed()
        return [_pair(*runs, reverse=bool(index % 2)) for index in range(num_pairs)]


def _pair(reference: Callable[[], float], candidate: Callable[[], float], *, reverse: bool) -> float:
    if reverse:
        denominator, numerator = candidate(), reference()
    else:
        numerator, denominator = reference(), candidate()
    return math.log(numerator / denominator)


def _prefill(loaded: LoadedModel, num_tokens: int) -> Callable[[], float]:
    ids = torch.arange(num_tokens, device=loaded.model.device)[None] % loaded.model.config.vocab_size
    return lambda: _timed(loaded, lambda: loaded.model(input_ids=ids, use_cache=False, logits_to_keep=1))


def _decode(loaded: LoadedModel, num_tokens: int) -> Callable[[], float]:
    ids = torch.arange(num_tokens + 1, device=loaded.model.device)[None] % loaded.model.config.vocab_size
    cache = transformers.DynamicCache(config=loaded.model.config)
    with torch.inference_mode():
        loaded.model(input_ids=ids[:, :-1], past_key_values=cache, logits_to_keep=1)

    def step() -> float:
        seconds = _timed(loaded, lambda: loaded.model(input_ids=ids[:, -1:], past_key_values=cache, logits_to_keep=1))
        cache.crop(-1)
        return seconds

    return step


def _timed(loaded: LoadedModel, work: Callable[[], object]) -> float:
    """Time a call in seconds, the device's queue empty before and after."""
    _synchronize(loaded)
    started = time.perf_counter()
    work()
    _synchronize(loaded)
    return time.perf_counter() - started


def _synchronize(loaded: LoadedModel) -> None:
    if loaded.device_type != "cpu":
        torch.accelerator.synchronize(loaded.model.device)
