"""Putting requests to an OpenAI-compatible server, many at a time."""

import collections
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import anyio
import openai
from openai.types.chat import ChatCompletion

from quantguard.engines._prompting import Request, asking_for, seed_of, token_ids
from quantguard.errors import EngineError
from quantguard.records import FinishReason, Generation, GenerationConfig

# A long answer of a busy server takes its time; a server that is not there does not.
_TIMEOUT = openai.Timeout(3600, connect=10)
# After so many failures in a row the rest is not asked for.
_HOPELESS = 8
# The names under which servers hand over the thinking that they have split off.
_THINKING_FIELDS = ("reasoning_content", "reasoning")


class Addressed(Protocol):
    """A model on a server."""

    @property
    def url(self) -> str:
        """The address, up to its ``/v1``."""

    @property
    def model(self) -> str:
        """What the server calls the model."""

    @property
    def name(self) -> str:
        """What records call it."""

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, or None."""

    @property
    def max_retries(self) -> int:
        """How often a request is repeated."""


def models_of(url: str) -> list[str]:
    """Return the models that a server lists, none where it cannot; raise EngineError where there is no server."""
    try:
        with openai.OpenAI(base_url=url, api_key=_key(), timeout=_TIMEOUT, max_retries=0) as client:
            return [entry.id for entry in client.models.list()]
    except (openai.NotFoundError, openai.InternalServerError):
        return []
    except openai.APIStatusError as error:
        raise EngineError(f"{url} refuses to list its models: {_said(error)}. Its key is OPENAI_API_KEY") from error
    except openai.APIConnectionError as error:
        raise EngineError(
            f"no server answers at {url}: {error.__cause__ or error}. Start it, and give the address with its /v1, such"
            " as http://localhost:8000/v1"
        ) from error


class Asking:
    """The state of a run against a server."""

    def __init__(
        self,
        endpoint: Addressed,
        config: GenerationConfig,
        requests: Sequence[Request],
        finished: Callable[[Generation], None],
    ) -> None:
        self._endpoint, self._config, self._finished = endpoint, config, finished
        self._waiting: Iterator[Request] = iter(requests)
        self._num_answered = 0
        self._failures: collections.Counter[str] = collections.Counter()
        self._in_a_row = 0
        self._refusal: str | None = None

    async def run(self, in_flight: int) -> None:
        """Ask until nothing is waiting or there is no point in going on."""
        async with (
            openai.AsyncOpenAI(
                base_url=self._endpoint.url,
                api_key=_key(),
                timeout=_TIMEOUT,
                max_retries=self._endpoint.max_retries,
            ) as client,
            anyio.create_task_group() as group,
        ):
            for _ in range(in_flight):
                group.start_soon(self._work, client, group.cancel_scope)

    def settle(self, total: int) -> None:
        """Raise EngineError unless every request was answered."""
        if self._refusal is not None:
            raise EngineError(f"{self._endpoint.url} refuses a request to {self._endpoint.name}: {self._refusal}")
        missing = total - self._num_answered
        if missing:
            failed = sum(self._failures.values())
            reasons = "; ".join(f"{count} of {reason}" for reason, count in self._failures.most_common(3))
            raise EngineError(
                f"{self._endpoint.url} left {missing} of {total} requests unanswered: {failed} failed ({reasons}),"
                f" {missing - failed} were not sent any more. {self._num_answered} answers came. See to the server and"
                " type the same command again: where answers are kept, it asks only for those that are missing"
            )

    async def _work(self, client: openai.AsyncOpenAI, everyone: anyio.CancelScope) -> None:
        """Take one waiting request after the other, until there is no point in it for anyone."""
        for request in self._waiting:
            if self._in_a_row >= _HOPELESS:
                return
            try:
                self._keep(request, await self._ask(client, request))
            except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
                self._fail(_said(error))
            except openai.APIStatusError as error:
                self._refusal = f"{_said(error)} (sample {request.sample_id})"
                everyone.cancel()
            except EngineError as error:
                self._refusal = str(error)
                everyone.cancel()

    async def _ask(self, client: openai.AsyncOpenAI, request: Request) -> ChatCompletion:
        config, options, suffix = self._config, {}, ""
        if config.mode is not None:
            asking = asking_for(self._endpoint, config.mode)
            suffix, options = asking.suffix, {"chat_template_kwargs": dict(asking.options)} if asking.options else {}
        return await client.chat.completions.create(
            model=self._endpoint.model,
            messages=[{"role": "user", "content": request.text + suffix}],
            max_tokens=config.max_new_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            # Servers differ in how large a seed they take; all of them take 31 bits.
            seed=seed_of(request, config) >> 32,
            extra_body=options,
        )

    def _keep(self, request: Request, answer: ChatCompletion) -> None:
        """Hand an answer on; one that the server broke off is a failure."""
        choice = answer.choices[0]
        if choice.finish_reason not in ("stop", "length"):
            self._fail(f"finish_reason {choice.finish_reason!r}")
            return
        self._num_answered += 1
        self._in_a_row = 0
        reason: FinishReason = choice.finish_reason
        self._finished(
            Generation(
                sample_id=request.sample_id,
                epoch=request.epoch,
                text=_text(choice.message, finish_reason=reason),
                num_tokens=self._num_tokens(request, answer),
                finish_reason=reason,
            )
        )

    def _num_tokens(self, request: Request, answer: ChatCompletion) -> int:
        """Return the length of an answer; raise EngineError where the server read another prompt than was meant."""
        usage = answer.usage
        if usage is None:
            raise EngineError("it does not say how many tokens an answer has (usage), which every record holds")
        if self._endpoint.tokenizer is not None:
            expected = len(token_ids(self._endpoint, request.text, self._config.mode))
            if usage.prompt_tokens != expected:
                raise EngineError(
                    f"its prompt of sample {request.sample_id} has {usage.prompt_tokens} tokens, and the chat template"
                    f" makes it {expected}: it has another template, or does not know the thinking mode"
                )
        return usage.completion_tokens

    def _fail(self, reason: str) -> None:
        self._failures[reason] += 1
        self._in_a_row += 1


def _text(message: Any, *, finish_reason: FinishReason) -> str:
    """Return the whole text, with the thinking that a server has split off back between its marks."""
    extra = message.model_extra or {}
    thinking = next((extra[field] for field in _THINKING_FIELDS if extra.get(field)), None)
    content = message.content or ""
    if thinking is None:
        return content
    unclosed = finish_reason == "length" and not content
    return f"<think>{thinking}" if unclosed else f"<think>{thinking}</think>{content}"


def _key() -> str:
    return os.environ.get("OPENAI_API_KEY") or "none"


def _said(error: openai.APIError) -> str:
    """Put what went wrong into one line."""
    cause = f": {error.__cause__}" if error.__cause__ and str(error.__cause__) else ""
    status = f"{error.status_code}, " if isinstance(error, openai.APIStatusError) else ""
    return f"{status}{' '.join(str(error).split())}{cause}"[:300]
