"""Quantized models and their answers, made once in a process for all tests of what gates make of them.

Nothing here is for a test that breaks a kernel, a rounding or an engine: it would be given what was made before.
"""

import dataclasses
import itertools
import zlib
from collections.abc import Callable, Sequence

import pytest
import torch

from quantguard.engines._prompting import Request
from quantguard.modeling import LoadedModel
from quantguard.pipeline.in_process import InProcess
from quantguard.pipeline.quantizing import quantize
from quantguard.recipes import load_recipe
from quantguard.records import Generation, GenerationConfig, Question, Recipe

_QUANTIZED: dict[str, tuple[LoadedModel, int]] = {}
_ANSWERS: dict[str, tuple[Generation, ...]] = {}


def share(patch: pytest.MonkeyPatch) -> None:
    """Let gates of this process have models that were quantized before, and answers that these gave before."""
    generate = InProcess.generate

    def quantized(loaded: LoadedModel, recipe: Recipe | str, *, backend: str = "auto") -> LoadedModel:
        chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
        key = repr((InProcess(loaded).fingerprint(Question(), batch_size=1), loaded.device_type, chosen, backend))
        if key not in _QUANTIZED:
            made = quantize(loaded, chosen, backend=backend)
            _QUANTIZED[key] = dataclasses.replace(made, full_precision=None), checksum(made)
        return dataclasses.replace(_QUANTIZED[key][0], tokenizer=loaded.tokenizer, full_precision=loaded)

    def generated(
        self: InProcess,
        requests: Sequence[Request],
        config: GenerationConfig,
        *,
        batch_size: int,
        finished: Callable[[Generation], None],
    ) -> None:
        key = repr((self.fingerprint(Question(), batch_size=batch_size), self.kernels(), requests, config, batch_size))
        if key not in _ANSWERS:
            answers: list[Generation] = []
            generate(self, requests, config, batch_size=batch_size, finished=answers.append)
            _ANSWERS[key] = tuple(answers)
        for answer in _ANSWERS[key]:
            finished(answer)

    patch.setattr("quantguard.pipeline.session.quantize", quantized)
    patch.setattr(InProcess, "generate", generated)


def require_unchanged() -> None:
    """Fail where a test changed a model that others were given too."""
    for loaded, before in _QUANTIZED.values():
        assert checksum(loaded) == before, f"a test changed the shared {loaded.name}, {loaded.recipe}"


def checksum(loaded: LoadedModel) -> int:
    """Return a checksum of all parameters and buffers, whatever their type."""
    total = 0
    for name, tensor in itertools.chain(loaded.model.named_parameters(), loaded.model.named_buffers()):
        content = tensor.detach().contiguous().flatten().view(torch.uint8).numpy()
        total = zlib.crc32(content, zlib.crc32(name.encode(), total))
    return total
