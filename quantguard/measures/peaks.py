"""The most memory that a model takes while it reads a prompt and while it writes: its weights, and more."""

import dataclasses
from typing import Any

import torch

from quantguard import devices
from quantguard.errors import MeasurementError
from quantguard.measures import Models
from quantguard.modeling import LoadedModel
from quantguard.modeling.integer_cache import new_cache
from quantguard.modeling.swapping import weight_bytes


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

    Raises MeasurementError for more tokens than the model has room for.
    """
    device = devices.members[loaded.device_type]
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
        works = (lambda: run.write(1), lambda: run.write(num_new_tokens))
        prefill, decode = device.peaks(str(model.device), works)
    return Peak(prefill=weights + prefill, decode=weights + decode, counted=device.COUNTED)


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
