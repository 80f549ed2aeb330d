"""Putting requests to an OpenAI-compatible server, many at a time."""

import collections
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import anyio
import openai

from quantguard.engines._prompting import Request, asking_for, seed_of, token_ids
from quantguard.engines.openai.address import advice, has_version, hint, key, proxy_of, require_proxies
from quantguard.engines.openai.reply import MalformedError, Reply, quoted, read_models, read_reply
from quantguard.errors import EngineError
from quantguard.records import Generation, GenerationConfig

# A long answer of a busy server takes its time; a server that is not there does not.
_TIMEOUT = openai.Timeout(3600, connect=10)
# After so many failures in a row the rest is not asked for.
_HOPELESS = 8
# Between repetitions of a request that was answered by something else, each twice the one before.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 8.0
# The statuses by which servers, and proxies before them, say that there is nothing at an address.
_OF_ADDRESSES = (400, 403, 404, 405, 407)
_ClientT = TypeVar("_ClientT", openai.OpenAI, openai.AsyncOpenAI)


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


def models_of(url: str) -> list[str] | None:
    """Return the models that a server lists, or None where it lists none.

    Raises EngineError, with what to type, where there is no server, or something else at that address; and UsageError
    for a key that cannot be sent.
    """
    try:
        with _open(openai.OpenAI, url) as client:
            response = client.models.with_raw_response.list().http_response
    except openai.NotFoundError:
        _refuse_missing_version(url)
        return None
    except openai.InternalServerError as error:
        if proxy_of(url) is None:
            return None
        raise EngineError(f"{url} does not answer: {_said(error)}. {advice(url)}") from error
    except openai.APIStatusError as error:
        said = _said(error)
        raise EngineError(
            f"{url} refuses to list its models: {said}. Its key is OPENAI_API_KEY. {advice(url, said)}"
        ) from error
    except openai.APIConnectionError as error:
        said = str(error.__cause__ or error)
        raise EngineError(f"no server answers at {url}: {said}. {advice(url, said)}") from error
    place = str(response.url).removesuffix("/models")
    if response.history and place != str(response.url):
        raise EngineError(f"{url} sends one on to {place}: type endpoint='{place}'")
    try:
        return read_models(response.content) or None
    except MalformedError as error:
        raise EngineError(
            f"{url} is not the address of an OpenAI-compatible interface: {error}. {advice(url)}"
        ) from error


def _refuse_missing_version(url: str) -> None:
    """Raise EngineError where the interface is below an address that has none."""
    if has_version(url):
        return
    try:
        found = models_of(f"{url}/v1")
    except EngineError:
        # Nothing is there either: it may be an interface that lists no models.
        return
    if found:
        raise EngineError(f"{url} has no interface, and {url}/v1 has one: type endpoint='{url}/v1'")


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
            _open(openai.AsyncOpenAI, self._endpoint.url) as client,
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
            except MalformedError as error:
                self._fail(str(error))
            except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
                self._fail(_said(error))
            except openai.APIStatusError as error:
                said = _said(error)
                known = hint(self._endpoint.url, said) if error.status_code in _OF_ADDRESSES else None
                self._refusal = f"{said} (sample {request.sample_id})" + (f". {known}" if known else "")
                everyone.cancel()
            except EngineError as error:
                self._refusal = str(error)
                everyone.cancel()

    async def _ask(self, client: openai.AsyncOpenAI, request: Request) -> Reply:
        """Return the answer to a request, which is repeated where none came, or something that is none.

        Raises what the last repetition came to.
        """
        left = self._endpoint.max_retries
        while True:
            raw = await self._send(client.with_options(max_retries=left), request)
            try:
                return self._read(raw.http_response.content)
            except MalformedError:
                # As the client itself does after a status of 500.
                left -= raw.retries_taken + 1
                if left < 0:
                    raise
            pause = _FIRST_PAUSE_SECONDS * 2 ** (self._endpoint.max_retries - left - 1)
            await anyio.sleep(min(pause, _LONGEST_PAUSE_SECONDS))

    async def _send(self, client: openai.AsyncOpenAI, request: Request) -> Any:
        config, options, suffix = self._config, {}, ""
        if config.mode is not None:
            asking = asking_for(self._endpoint, config.mode)
            suffix, options = asking.suffix, {"chat_template_kwargs": dict(asking.options)} if asking.options else {}
        return await client.chat.completions.with_raw_response.create(
            model=self._endpoint.model,
            messages=[{"role": "user", "content": request.text + suffix}],
            max_tokens=config.max_new_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            # Servers differ in how large a seed they take; all of them take 31 bits.
            seed=seed_of(request, config) >> 32,
            extra_body=options,
        )

    def _read(self, body: bytes) -> Reply:
        """Read a reply; raise MalformedError for one that is no answer to what was asked, of the model that was."""
        reply, limit = read_reply(body), self._config.max_new_tokens
        if reply.model is not None and not _is_name_of(reply.model, self._endpoint.model):
            raise MalformedError(f"its reply is of the model {reply.model!r}")
        if reply.completion_tokens > limit:
            raise MalformedError(f"its reply counts {reply.completion_tokens} tokens, and {limit} were allowed")
        return reply

    def _keep(self, request: Request, reply: Reply) -> None:
        """Hand an answer on; raise EngineError where the server read another prompt than was meant."""
        self._require_prompt(request, reply)
        self._num_answered += 1
        self._in_a_row = 0
        self._finished(
            Generation(
                sample_id=request.sample_id,
                epoch=request.epoch,
                text=reply.text,
                num_tokens=reply.completion_tokens,
                finish_reason=reply.finish_reason,
            )
        )

    def _require_prompt(self, request: Request, reply: Reply) -> None:
        if self._endpoint.tokenizer is None:
            return
        expected = len(token_ids(self._endpoint, request.text, self._config.mode))
        if reply.prompt_tokens != expected:
            raise EngineError(
                f"its prompt of sample {request.sample_id} has {reply.prompt_tokens} tokens, and the chat template"
                f" makes it {expected}: it has another template, or does not know the thinking mode"
            )

    def _fail(self, reason: str) -> None:
        self._failures[reason] += 1
        self._in_a_row += 1


def _is_name_of(said: str, asked: str) -> bool:
    """Tell whether a server that says this name may mean the model: it may add, or leave out, a path or a revision."""
    if said != asked:
        said = re.sub(r"(?:@.*|:latest|-\d{4}-?\d{2}-?\d{2})$", "", said)
    return said == asked or said.endswith(f"/{asked}") or asked.endswith(f"/{said}")


def _open(kind: type[_ClientT], url: str) -> _ClientT:
    """Open a client; raise EngineError or UsageError where the environment does not let it."""
    require_proxies()
    return kind(base_url=url, api_key=key(), timeout=_TIMEOUT, max_retries=0)


def _said(error: openai.APIError) -> str:
    """Put what went wrong into one line."""
    parts = [" ".join(str(error).split())]
    if isinstance(error, openai.APIStatusError):
        parts.insert(0, f"{error.status_code}")
        if not isinstance(error.body, dict):
            parts.append(quoted(error.response.content))
    elif error.__cause__ and str(error.__cause__):
        parts.append(str(error.__cause__))
    return ", ".join(parts)[:400]
