"""What is put to a model: the request, and its text under the model's own chat template."""

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from quantguard.engines._thinking import Asking, modes_of
from quantguard.errors import UsageError
from quantguard.modeling.tokenizer_files import render_chat
from quantguard.records import GenerationConfig
from quantguard.records.codec import digest

# What templates that write the date are told: by the real one, prompts and answers would be others every day.
_TODAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_DIRECTIVES = "aAbBdHIjmMpSyY"


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
    template = _of_one_day(model.tokenizer.get_chat_template())
    return render_chat(model.tokenizer, chat, template=template, add_generation_prompt=True, **asking.options)


def _of_one_day(template: str) -> str:
    """Return a template that writes the same date every day, where it writes one."""
    if "strftime_now" not in template:
        return template
    # A macro goes before the function of that name, which transformers has for every template.
    filled = "".join(f" | replace('%{one}', '{_TODAY.strftime(f'%{one}')}')" for one in _DIRECTIVES)
    return f"{{%- macro strftime_now(format) -%}}{{{{ format{filled} }}}}{{%- endmacro -%}}{template}"


def token_ids(model: HasTemplate, text: str, mode: str | None) -> list[int]:
    """Return the tokens that a model is sent: the prompt of :func:`render`, to which no special tokens are added."""
    ids: list[int] = model.tokenizer(render(model, text, mode), add_special_tokens=False)["input_ids"]
    return ids


def words_of_tokenizer(tokenizer: Any) -> str:
    """Return the hash of how text becomes tokens and tokens text: the chat template and all of the tokenizer."""
    return digest(
        [tokenizer.chat_template, tokenizer.backend_tokenizer.to_str(), tokenizer.clean_up_tokenization_spaces]
    )


def summary_of_tokens(sequences: Sequence[Sequence[int]]) -> str:
    """Return the number of sequences and of tokens and the hash of every token id, in one line."""
    return f"{len(sequences)} prompts, {sum(map(len, sequences))} tokens, {digest(sequences)[:16]}"


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
