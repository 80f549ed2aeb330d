"""What a server says, read into records: a reply that is not wholly what was asked for is none, whatever its status."""

import dataclasses
import json
from typing import Any

from quantguard.errors import QuantguardError, RecordError
from quantguard.records import FinishReason, from_json

# The marks of thinking that stands in the text itself.
_MARKS = ("<think>", "</think>")
_LONGEST_QUOTATION = 200


class MalformedError(QuantguardError):
    """Report a reply that is no answer, which may be one if it is asked for again."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What the model wrote, and the thinking under either name where a server has split it off.

    What is null may be left out.
    """

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer, and why it ended."""

    message: Message
    finish_reason: FinishReason


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How many tokens were read, and how many written, the thinking included."""

    prompt_tokens: int
    completion_tokens: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Completion:
    choices: tuple[Choice, ...]
    usage: Usage
    model: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One whole answer: its text, with the thinking in its marks, why it ended, its tokens and who wrote it.

    ``model`` is absent where the server does not say.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    model: str | None


def read_reply(body: bytes) -> Reply:
    """Read the body of a chat completion; raise MalformedError, which says what it is, for any other."""
    table = _table(body)
    choices = table.get("choices")
    if isinstance(choices, list):
        table["choices"] = [_choice(choice) for choice in choices]
    table["usage"] = _known(Usage, table.get("usage"))
    try:
        completion = from_json(_Completion, _known(_Completion, table), where="its reply")
    except RecordError as error:
        raise MalformedError(str(error)) from None
    if len(completion.choices) != 1:
        raise MalformedError(f"its reply has {len(completion.choices)} choices, and one was asked for")
    (choice,), usage = completion.choices, completion.usage
    text = _text(choice.message, finish_reason=choice.finish_reason)
    if usage.prompt_tokens < 0 or usage.completion_tokens < bool(text):
        raise MalformedError(
            f"its reply counts {usage.completion_tokens} tokens (usage.completion_tokens) beside a text"
        )
    return Reply(
        text=text,
        finish_reason=choice.finish_reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        model=completion.model or None,
    )


def read_models(body: bytes) -> list[str]:
    """Read the names in a list of models; raise MalformedError for anything else."""
    entries = _table(body).get("data")
    names = (
        [entry.get("id") if isinstance(entry, dict) else None for entry in entries]
        if isinstance(entries, list)
        else [None]
    )
    if not all(isinstance(name, str) and name for name in names):
        raise MalformedError(f"it says {quoted(body)}, which is no list of models")
    return [str(name) for name in names]


def quoted(body: bytes) -> str:
    """Return the beginning of a body in one line."""
    text = " ".join(body.decode(errors="replace").split())
    return repr(text if len(text) <= _LONGEST_QUOTATION else text[:_LONGEST_QUOTATION] + "…")


def _table(body: bytes) -> dict[str, Any]:
    try:
        table = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedError(f"its reply is {_kind(body)} and no JSON: {quoted(body)}") from None
    if not isinstance(table, dict):
        raise MalformedError(f"its reply is no JSON object: {quoted(body)}")
    if table.get("error"):
        error = table["error"]
        said = error.get("message", error) if isinstance(error, dict) else error
        raise MalformedError(f"its reply is an error: {quoted(str(said).encode(errors='replace'))}")
    return table


def _kind(body: bytes) -> str:
    beginning = body.lstrip()[:100].lower()
    if not beginning:
        return "empty"
    if beginning.startswith(b"<"):
        return "a page of HTML or XML"
    if beginning.startswith((b"{", b"[")):
        return "broken"
    return "a stream of events" if beginning.startswith((b"data:", b"event:", b":")) else "text"


def _choice(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    message = value.get("message")
    if isinstance(message, dict) and message.get("tool_calls"):
        raise MalformedError("its answer is a call of a tool, and there are none")
    return _known(Choice, value | {"message": _known(Message, message)})


def _known(cls: type, value: Any) -> Any:
    """Leave out what servers say besides."""
    names = {field.name for field in dataclasses.fields(cls)}
    return {key: item for key, item in value.items() if key in names} if isinstance(value, dict) else value


def _text(message: Message, *, finish_reason: FinishReason) -> str:
    """Return the whole text, with the thinking that a server has split off back between its marks."""
    parts = {part for part in (message.reasoning_content, message.reasoning) if part}
    if message.refusal or (message.content is None and not parts):
        raise MalformedError(f"its reply has no text: {message.refusal or 'content is null'}")
    if len(parts) > 1:
        raise MalformedError("its reply has two different texts of thinking, reasoning_content and reasoning")
    content = message.content or ""
    if not parts or any(mark in content for mark in _MARKS):
        return content
    (thinking,) = parts
    unclosed = finish_reason == "length" and not content
    return f"<think>{thinking}" if unclosed else f"<think>{thinking}</think>{content}"
