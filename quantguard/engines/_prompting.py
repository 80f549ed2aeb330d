"""What is put to a model: the request, and its text under the model's own chat template."""

import dataclasses
import hashlib
from typing import Any, Protocol

from quantguard.engines._thinking import Asking, modes_of
from quantguard.errors import UsageError
from quantguard.modeling.tokenizer_files import render_chat
from quantguard.records import GenerationConfig


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing to generate: what the user says, for which sample and epoch."""

    sample_id: str
    epoch: int
    text: str


class HasTemplate(Protocol):
    """Anything with a name and a tokenizer of transformers, which knows the chat template."""

    @property
    def name(self) -> str:
        """What the model is called."""

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""


def render(model: HasTemplate, text: str, mode: str | None) -> str:
    """Return the full prompt; a model without a chat template gets the text as it is.

    Raises UsageError for a thinking mode that the template does not have, and ModelError for one that fails.
    """
    asking = asking_for(model, mode)
    if model.tokenizer.chat_template is None:
        return text
    chat = [{"role": "user", "content": text + asking.suffix}]
    return render_chat(model.tokenizer, chat, add_generation_prompt=True, **asking.options)


def asking_for(model: HasTemplate, mode: str | None) -> Asking:
    """Return how the model's chat template is asked for a thinking mode; raise UsageError for one that it lacks."""
    if mode is None:
        return Asking()
    modes = modes_of(model.tokenizer.chat_template)
    if mode not in modes:
        possible = f"it has {', '.join(modes)}" if modes else "it has no thinking modes; leave mode out"
        raise UsageError(f"mode={mode!r} is not one of the chat template of {model.name}: {possible}")
    return modes[mode]


def seed_of(request: Request, config: GenerationConfig) -> int:
    """Return the seed of one answer, 63 bits, out of the run's seed, the epoch and the sample."""
    key = f"{config.seed}:{request.epoch}:{request.sample_id}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8]) >> 1
