"""A server with an OpenAI-compatible interface: vLLM, vLLM-Ascend, SGLang, ``transformers serve``.

Many requests are in flight at once. One that the server does not answer, or with something that is no whole answer, is
repeated with growing pauses, and then counts as failed: what the server could not do is never a wrong answer. Answers
that came are handed on before the error is raised, so that a second run asks only for what is missing.

The server renders the prompt and does what it likes about sampling settings that nobody names; the seed of every answer
is sent with it. Give ``tokenizer`` for a thinking mode: the server is then told by ``chat_template_kwargs``, and has to
have counted the very tokens that the template makes of the prompt.
"""

import dataclasses
import importlib
import importlib.util
import pathlib
import types
from collections.abc import Callable, Sequence
from typing import Any

from quantguard.engines._openai_address import EXAMPLE, checked
from quantguard.engines._prompting import Request, words_of_tokenizer
from quantguard.errors import EngineError, UsageError
from quantguard.records import Fingerprint, Generation, GenerationConfig, ModelIdentity, Question, Runtime

VERSION = "openai/2"
# How often the client repeats a request that the server did not answer, within some 15 seconds.
_RETRIES = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model on a server; ``url`` ends in ``/v1``.

    ``model`` is what the server calls it, and ``name`` what records do. ``tokenizer`` is the model's own, of
    transformers, or absent.
    """

    url: str
    model: str
    name: str
    tokenizer: Any = None
    max_retries: int = _RETRIES
    engine: str = "openai"
    platform: str = "endpoint"
    recipe: None = None
    served: bool = True
    default_batch_size: int = 64
    notes: tuple[str, ...] = ()

    def kernels(self) -> dict[str, str]:
        """Return nothing: the server does not tell."""
        return {}

    def fingerprint(self, question: Question, *, batch_size: int) -> Fingerprint:
        """Return the name that the server has for the model, and the tokenizer's template where it was given."""
        del batch_size
        known = self.tokenizer and words_of_tokenizer(self.tokenizer)
        return Fingerprint(
            question=dataclasses.replace(question, prompt=known or "the server's"),
            model=ModelIdentity(weights=f"served as {self.name}", recipe="as-served"),
            runtime=Runtime(engine=VERSION),
        )

    def circumstances(self) -> dict[str, str]:
        """Return where the server is."""
        return {"endpoint": self.url}

    def generation_facts(self) -> dict[str, str]:
        """Return nothing: how a server generates is its own business."""
        return {}

    def generate(
        self,
        requests: Sequence[Request],
        config: GenerationConfig,
        *,
        batch_size: int,
        finished: Callable[[Generation], None],
    ) -> None:
        """Answer every request; see :func:`generate`."""
        generate(self, requests, config, batch_size=batch_size, finished=finished)


def connect(model: str, *, url: str | None, tokenizer: Any = None) -> Endpoint:
    """Find a server and return the model on it.

    The key, where the server wants one, is the environment's OPENAI_API_KEY. Raises UsageError without an address, or
    for one that cannot be that of an interface, and EngineError where no such server answers, or it lists its models
    and this is none of them: some servers answer under any name.
    """
    if url is None:
        raise UsageError(f"the engine openai asks a server: give its address, such as {EXAMPLE}")
    # A folder goes by its last name, as a model of this process does.
    name = pathlib.PurePath(model).name if pathlib.Path(model).is_dir() else model
    address = checked(url)
    listed = _client().models_of(address)
    if listed is not None and model not in listed:
        raise EngineError(
            f"{address} has no model {model!r}; it has {', '.join(sorted(listed))}. Type one of those, or serve the"
            " model under that name (vLLM and SGLang: --served-model-name)"
        )
    notes = () if listed else (f"{address} lists no models: that its answers are of {model} is what it says itself",)
    return Endpoint(url=address, model=model, name=name, tokenizer=tokenizer, notes=notes)


def generate(
    endpoint: Endpoint,
    requests: Sequence[Request],
    config: GenerationConfig,
    *,
    batch_size: int,
    finished: Callable[[Generation], None],
) -> None:
    """Answer the requests, ``batch_size`` of them in flight, and hand each generation to ``finished`` as it comes.

    Raises EngineError where the server leaves any unanswered, with their number, or refuses one; UsageError for a
    thinking mode without a tokenizer to know it by.
    """
    if config.mode is not None and endpoint.tokenizer is None:
        raise UsageError(
            f"mode={config.mode!r}: how {endpoint.name} is asked for it stands in its chat template: give its tokenizer"
            " too, tokenizer='FOLDER'"
        )
    asking = _client().Asking(endpoint, config, requests, finished)
    import anyio.from_thread  # noqa: PLC0415 - comes with openai

    # A loop of its own: the caller may have one running, as a notebook does.
    with anyio.from_thread.start_blocking_portal() as portal:
        portal.call(asking.run, batch_size)
    asking.settle(len(requests))


def _client() -> types.ModuleType:
    """Import what needs the package openai; raise EngineError where it is not installed."""
    if importlib.util.find_spec("openai") is None:
        raise EngineError("the engine openai needs the package of that name. Type: pip install 'quantguard[openai]'")
    return importlib.import_module("quantguard.engines._openai_client")
