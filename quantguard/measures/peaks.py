"""The most memory that a model takes while it reads a prompt and while it writes: its weights, and more."""

import contextlib
import dataclasses
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from quantguard.errors import MeasurementError
from quantguard.kernels.ascend import device
from quantguard.measures import Models
from quantguard.modeling import LoadedModel
from quantguard.modeling.integer_cache import new_cache
from quantguard.modeling.swapping import weight_bytes

Work = Callable[[], object]
_MARK = "quantguard.peak"
_LOG_LEVEL = "KINETO_LOG_LEVEL"
# What is counted on top of the weights, for whoever reads the figure.
_COUNTED = {
    "cpu": "what torch's allocator hands out on top, by torch's profiler; not the interpreter nor other libraries",
    "npu": "what the NPU's allocator hands out on top, by torch_npu's statistics; not what it reserves without use",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The most bytes that a model took."""

    prefill: int
    """While it read a prompt."""
    decode: int
    """While it wrote."""
    counted: str
    """What is counted, in words."""

    @property
    def bytes(self) -> int:
        """The larger of the two."""
        return max(self.prefill, self.decode)


def measure(models: Models, *, num_tokens: int, num_new_tokens: int) -> tuple[Peak, Peak]:
    """Measure the candidate's peak of memory and full precision's, one after the other."""
    candidate, reference = (
        peak_bytes(loaded, num_tokens=num_tokens, num_new_tokens=num_new_tokens)
        for loaded in (models.candidate, models.reference)
    )
    return candidate, reference


def peak_bytes(loaded: LoadedModel, *, num_tokens: int, num_new_tokens: int) -> Peak:
    """Let a model read ``num_tokens`` at batch 1 and write ``num_new_tokens`` greedily; return its peak of bytes.

    Raises MeasurementError for more tokens than the model has room for, and on a device where nothing counts them.
    """
    count = _counter(loaded)
    model, longest = loaded.model, loaded.model.config.max_position_embeddings
    if num_tokens + num_new_tokens > longest:
        raise MeasurementError(
            f"{num_tokens} and {num_new_tokens} tokens are asked for; the context of {loaded.name} has room for"
            f" {longest}. Lower num_tokens= or num_new_tokens="
        )
    weights = weight_bytes(model)
    with torch.inference_mode():
        # Once unmeasured: what a first call makes and keeps, such as compiled kernels, is not the peak of the others.
        _Run(model, num_tokens).write(2)
        run = _Run(model, num_tokens)
        prefill, decode = count([lambda: run.write(1), lambda: run.write(num_new_tokens)])
    return Peak(prefill=weights + prefill, decode=weights + decode, counted=_COUNTED[str(model.device.type)])


class _Run:
    """A prompt, and what is written behind it with the cache that holds both; nothing is allocated beforehand."""

    def __init__(self, model: Any, num_tokens: int) -> None:
        self._model, self._num_tokens = model, num_tokens
        self._cache: Any = None
        self._next: Any = None

    def write(self, num_tokens: int) -> None:
        """Write tokens, one a step; the first step reads the prompt."""
        for _ in range(num_tokens):
            if self._cache is None:
                ids = torch.arange(self._num_tokens, device=self._model.device)[None]
                self._next, self._cache = ids % self._model.config.vocab_size, new_cache(self._model)
            logits = self._model(input_ids=self._next, past_key_values=self._cache, logits_to_keep=1).logits
            self._next = logits[:, -1:].argmax(-1)


def _counter(loaded: LoadedModel) -> Callable[[Sequence[Work]], list[int]]:
    """Return what runs pieces of work and finds how many bytes each one's peak adds to what there was at first."""
    kind = str(loaded.model.device.type)
    if kind == "cpu":
        return _peaks_on_cpu
    if kind == "npu":
        return lambda works: device.peaks(str(loaded.model.device), works)
    raise MeasurementError(
        f"memory(max_peak_ratio=…) is measured on {' and '.join(_COUNTED)}; {loaded.name} is on {kind!r}. Leave"
        " max_peak_ratio out, or run it on one of these"
    )


def _peaks_on_cpu(works: Sequence[Work]) -> list[int]:
    """Add up what torch's CPU allocator hands out and takes back, in its order."""
    gc.collect()
    with _quiet(), torch.profiler.profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profile:
        for work in works:
            with torch.profiler.record_function(_MARK):
                work()
    found: list[int] = []
    now = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == _MARK:
            found.append(now)
        if event.name() == "[memory]" and found:
            now += event.nbytes()
            found[-1] = max(found[-1], now)
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the profiler from writing to the terminal when it starts and stops."""
    before = os.environ.get(_LOG_LEVEL)
    os.environ[_LOG_LEVEL] = before or "99"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_LOG_LEVEL]
