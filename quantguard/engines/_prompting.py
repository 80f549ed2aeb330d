"""What is put to a model: the request, and its text under the model's own chat template."""

import dataclasses

import jinja2

from quantguard.engines._thinking import Asking, modes_of
from quantguard.errors import UsageError
from quantguard.modeling import LoadedModel


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing to generate: what the user says, for which sample and epoch."""

    sample_id: str
    epoch: int
    text: str


def render(loaded: LoadedModel, text: str, mode: str | None) -> str:
    """Return the full prompt; a model without a chat template gets the text as it is.

    Raises UsageError for a thinking mode that the template does not have.
    """
    template = loaded.tokenizer.chat_template
    asking = Asking()
    if mode is not None:
        modes = modes_of(template)
        if mode not in modes:
            possible = f"it has {', '.join(modes)}" if modes else "it has no thinking modes; leave mode out"
            raise UsageError(f"mode={mode!r} is not one of the chat template of {loaded.name}: {possible}")
        asking = modes[mode]
    if template is None:
        return text
    chat = [{"role": "user", "content": text + asking.suffix}]
    try:
        rendered: str = loaded.tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=True, **asking.options
        )
    except jinja2.TemplateError as error:
        raise UsageError(f"the chat template of {loaded.name} refuses mode={mode!r}: {error}") from error
    return rendered
