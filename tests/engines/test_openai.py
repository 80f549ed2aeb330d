"""A served model: every request is answered or the run says how many were not, and a failure is never an answer."""

import dataclasses
import importlib.util
import json
import pathlib
from typing import Any

import pytest

import quantguard
from quantguard.engines import openai as engine
from quantguard.engines._prompting import Request
from quantguard.engines.openai import client
from quantguard.engines.openai.reply import read_reply
from quantguard.errors import EngineError, QuantguardError
from quantguard.modeling.loading import tokenizer_of
from quantguard.pipeline import GenerationStore
from quantguard.records import Generation, GenerationConfig
from tests.support.openai_server import Answer, completion, serving

# A server is waited for.
pytestmark = pytest.mark.timeout(300)

GREEDY = GenerationConfig(max_new_tokens=8)
TINY = pathlib.Path(quantguard.__file__).parent / "tiny_reasoner" / "model"


def requests(count: int, epochs: int = 1) -> list[Request]:
    return [Request(sample_id=f"s{i}", epoch=e, text=f"{i}?") for e in range(epochs) for i in range(count)]


def echo(body: dict[str, Any], number: int) -> Answer:
    del number
    return 200, completion("to " + body["messages"][0]["content"])


def answers(
    url: str, count: int = 3, config: GenerationConfig = GREEDY, *, in_flight: int = 4, **settings: Any
) -> dict[str, Generation]:
    """Ask, without pauses between the repetitions of a request, and return what came, if only a part came."""
    endpoint = dataclasses.replace(engine.connect("m", url=url), max_retries=2, **settings)
    found: dict[str, Generation] = {}
    endpoint.generate(
        requests(count), config, batch_size=in_flight, finished=lambda one: found.update({one.sample_id: one})
    )
    return found


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.0)
    monkeypatch.setattr("quantguard.engines.openai.client._LONGEST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.0)


def test_every_request_is_answered_once_and_told_how_to_decode() -> None:
    with serving(echo) as server:
        found = answers(server.url, 20)
    assert {id_: one.text for id_, one in found.items()} == {f"s{i}": f"to {i}?" for i in range(20)}
    assert found["s0"].num_tokens == 5
    assert {(body["model"], body["max_tokens"], body["temperature"]) for body in server.asked} == {("m", 8, 0.0)}
    assert len({body["seed"] for body in server.asked}) == 20
    assert all(0 <= body["seed"] < 2**31 for body in server.asked)


def test_a_server_that_stumbles_is_asked_again() -> None:
    def stumble(body: dict[str, Any], number: int) -> Answer:
        return ((500, 429, 503)[number % 3], {}) if number <= 2 else echo(body, number)

    with serving(stumble) as server:
        assert answers(server.url, 1)["s0"].text == "to 0?"
    assert len(server.asked) == 3


def test_what_a_server_never_answers_is_an_error_with_its_number_and_the_rest_is_handed_on() -> None:
    def reply(body: dict[str, Any], number: int) -> Answer:
        return (500, {}) if body["messages"][0]["content"] == "2?" else echo(body, number)

    found: dict[str, Generation] = {}
    with serving(reply) as server, pytest.raises(EngineError, match=r"left 1 of 5 requests unanswered: 1 failed"):
        dataclasses.replace(engine.connect("m", url=server.url), max_retries=1).generate(
            requests(5), GREEDY, batch_size=2, finished=lambda one: found.update({one.sample_id: one})
        )
    assert sorted(found) == ["s0", "s1", "s3", "s4"]


def test_a_server_that_is_gone_is_not_asked_for_the_rest() -> None:
    with serving(lambda _body, _number: (503, {})) as server:
        with pytest.raises(EngineError, match=r"left 100 of 100 .* 9\d were not sent any more. 0 answers came"):
            answers(server.url, 100, in_flight=1)
        assert len(server.asked) == 8 * 3


def test_a_request_that_is_refused_ends_the_run_with_the_servers_words() -> None:
    with serving(lambda _body, _number: (400, {"error": {"message": "too long"}})) as server:
        with pytest.raises(EngineError, match=r"refuses a request to m: 400, .*too long.*sample s0"):
            answers(server.url, 50, in_flight=1)
        assert len(server.asked) == 1


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return a completion in which one thing, by its path, is another; ``...`` leaves it out."""
    whole = completion(r"\boxed{7}")
    *above, last = path.split(".")
    place: Any = whole
    for step in above:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return whole


PARTS = [{"type": "text", "text": r"\boxed{7}"}]
CHUNK = (
    b'data: {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "7"}}]}\n\ndata: [DONE]\n'
)
USAGE = {"prompt_tokens": 3, "completion_tokens": 5}
NO_ANSWERS = {
    "an error": (
        {"error": {"message": "Provider returned error", "code": 502}},
        "is an error: 'Provider returned error'",
    ),
    "an error in words": ({"error": "overloaded"}, "is an error: 'overloaded'"),
    "an error beside an answer": (changed("error", {"code": 1}), "is an error"),
    "nothing": (b"", "is empty and no JSON"),
    "null": (b"null", "is no JSON object: 'null'"),
    "a list": ([], "is no JSON object"),
    "half of it": (b'{"id": "x", ', "is broken and no JSON"),
    "no UTF-8": (b'{"id": "\xff"}', "is broken and no JSON"),
    "brackets without end": (b"[" * 100_000, "is broken and no JSON"),
    "HTML": (b"<!DOCTYPE html><html>log in</html>", "is a page of HTML or XML"),
    "events": (CHUNK, "is a stream of events"),
    "text": (b"ok", "is text and no JSON: 'ok'"),
    "no choices": (changed("choices", []), "has 0 choices, and one"),
    "null choices": (changed("choices", None), "reply.choices: expected a list, found nothing"),
    "missing choices": (changed("choices", ...), "missing choices"),
    "a table of choices": (changed("choices", {}), "reply.choices: expected a list"),
    "a null choice": (changed("choices", [None]), r"choices\[0\]: expected a table of Choice, found nothing"),
    "two choices": (changed("choices", completion("7")["choices"] * 2), "has 2 choices"),
    "a chunk": (changed("choices", [{"index": 0, "delta": {"content": "7"}, "finish_reason": "stop"}]), "message"),
    "a null message": (changed("choices.0.message", None), "message: expected a table of Message, found nothing"),
    "a text for a message": (changed("choices.0.message", "7"), "message: expected a table"),
    "null content": (changed("choices.0.message.content", None), "has no text: content is null"),
    "missing content": (changed("choices.0.message.content", ...), "has no text: content is null"),
    "content in parts": (changed("choices.0.message.content", PARTS), "content: expected text, found list of 1"),
    "a number for content": (changed("choices.0.message.content", 7), "content: expected text"),
    "a refusal": (changed("choices.0.message.refusal", "I will not"), "has no text: I will not"),
    "a call of a tool": (changed("choices.0.message.tool_calls", [{"id": "1"}]), "is a call of a tool"),
    "a table of thinking": (changed("choices.0.message.reasoning", {"text": "3+4"}), "reasoning: expected text"),
    "two kinds of thinking": (
        completion("7", reasoning="3+4", reasoning_content="4+3"),
        "two different texts of thinking",
    ),
    "no reason": (changed("choices.0.finish_reason", ...), "missing finish_reason"),
    **{
        f"the reason {reason}": (
            completion("7", finish_reason=reason),
            "finish_reason: .* is not one of 'stop', 'length'",
        )
        for reason in (None, "abort", "content_filter", "tool_calls", "STOP", "eos_token", "")
    },
    "missing usage": (changed("usage", ...), "reply.usage: expected a table of Usage, found nothing"),
    "null usage": (changed("usage", None), "reply.usage: expected a table of Usage, found nothing"),
    "empty usage": (changed("usage", {}), "reply.usage: missing prompt_tokens, completion_tokens"),
    "half of usage": (changed("usage.completion_tokens", ...), "reply.usage: missing completion_tokens"),
    **{
        f"{value!r} tokens": (changed("usage.completion_tokens", value), "completion_tokens")
        for value in (None, "5", 5.5, True, [5], -1, 0)
    },
    "a negative prompt": (changed("usage.prompt_tokens", -1), "reply counts"),
    "more than was allowed": (changed("usage.completion_tokens", 9), "counts 9 tokens, and 8 were allowed"),
    "another model": (changed("model", "other/m-w8a8"), "is of the model 'other/m-w8a8'"),
    "a longer name": (changed("model", "m-w8a8"), "is of the model 'm-w8a8'"),
    "no name of a model": (changed("model", 7), "reply.model: expected text"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_whole_answer_is_asked_for_again_and_then_an_error(name: str) -> None:
    body, complaint = NO_ANSWERS[name]

    def reply(asked: dict[str, Any], number: int) -> Answer:
        return (200, body) if asked["messages"][0]["content"] == "2?" else echo(asked, number)

    found: dict[str, Generation] = {}
    endpoint_requests = requests(5)
    with serving(reply) as server:
        endpoint = dataclasses.replace(engine.connect("m", url=server.url), max_retries=2)
        with pytest.raises(EngineError, match=rf"left 1 of 5 requests unanswered: 1 failed \(1 of .*{complaint}"):
            endpoint.generate(
                endpoint_requests, GREEDY, batch_size=2, finished=lambda one: found.update({one.sample_id: one})
            )
    assert sorted(found) == ["s0", "s1", "s3", "s4"]
    assert [asked["messages"][0]["content"] for asked in server.asked].count("2?") == 3


def test_what_is_no_whole_answer_once_is_none_of_the_answers() -> None:
    bodies = [body for body, _ in NO_ANSWERS.values()]

    def reply(asked: dict[str, Any], number: int) -> Answer:
        return (200, bodies[number // 2 % len(bodies)]) if number % 2 else echo(asked, number)

    with serving(reply) as server:
        found = answers(server.url, len(bodies), in_flight=1)
    assert {one.text for one in found.values()} == {f"to {i}?" for i in range(len(bodies))}


def test_repetitions_of_both_kinds_count_together() -> None:
    with serving(lambda _asked, number: ((500, {}), (200, {}))[number % 2]) as server:
        with pytest.raises(EngineError, match="left 1 of 1"):
            answers(server.url, 1)
        assert len(server.asked) == 3


def test_a_client_that_takes_a_null_choice_for_an_empty_answer_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault that is planted: what servers leave out filled in with what would be an answer."""

    def lenient(body: bytes) -> Any:
        return read_reply(body.replace(b'"choices": null', json.dumps(completion(""))[1:-1].encode()))

    monkeypatch.setattr(client, "read_reply", lenient)
    with serving(lambda _asked, _number: (200, changed("choices", None))) as server:
        assert answers(server.url, 1)["s0"].text == ""


@pytest.mark.parametrize(
    "said", [None, "", "m", "m@main", "m:latest", "m-2026-01-31", "m-20260131", "org/m", "/models/m"], ids=repr
)
def test_a_name_that_may_be_the_models_is_taken(said: str | None) -> None:
    with serving(lambda _asked, _number: (200, changed("model", said))) as server:
        assert answers(server.url, 1)["s0"].text == r"\boxed{7}"


def test_an_answer_without_a_token_is_an_empty_one() -> None:
    body = completion("") | {"usage": USAGE | {"completion_tokens": 0}}
    with serving(lambda _asked, _number: (200, body)) as server:
        found = answers(server.url, 1)
    assert (found["s0"].text, found["s0"].num_tokens) == ("", 0)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_that_the_server_split_off_is_put_back(field: str) -> None:
    def reply(body: dict[str, Any], _number: int) -> Answer:
        if body["messages"][0]["content"] == "0?":
            return 200, completion("7", **{field: "3+4"})
        return 200, completion("", finish_reason="length", **{field: "3+"})

    with serving(reply) as server:
        found = answers(server.url, 2)
    assert (found["s0"].text, found["s0"].finish_reason) == ("<think>3+4</think>7", "stop")
    assert (found["s1"].text, found["s1"].finish_reason) == ("<think>3+", "length")


@pytest.mark.parametrize("content", [None, ""])
def test_an_answer_that_is_thinking_alone_is_one(content: str | None) -> None:
    body = completion("", reasoning_content="3+4")
    if content is None:
        del body["choices"][0]["message"]["content"]
    with serving(lambda _body, _number: (200, body)) as server:
        assert answers(server.url, 1)["s0"].text == "<think>3+4</think>"


@pytest.mark.parametrize("content", ["<think>3+4</think>7", "3+4</think>7", "<think>3+"])
def test_thinking_that_stands_in_the_text_as_well_is_not_doubled(content: str) -> None:
    with serving(lambda _body, _number: (200, completion(content, reasoning_content="3+4"))) as server:
        assert answers(server.url, 1)["s0"].text == content


def test_a_thinking_mode_is_asked_for_as_the_template_wants_and_needs_the_tokenizer() -> None:
    config = dataclasses.replace(GREEDY, mode="no_think")
    with serving(echo) as server:
        with pytest.raises(QuantguardError, match="give its tokenizer"):
            answers(server.url, 1, config)
        assert not server.asked
        with pytest.raises(EngineError, match=r"has 3 tokens, and the chat template makes it \d+"):
            answers(server.url, 1, config, tokenizer=tokenizer_of("tiny-reasoner"))
        assert server.asked[0]["chat_template_kwargs"] == {"think_mode": "no_think"}


def test_a_prompt_of_as_many_tokens_as_the_template_makes_is_taken() -> None:
    tokenizer = tokenizer_of("tiny-reasoner")

    def reply(body: dict[str, Any], number: int) -> Answer:
        status, table = echo(body, number)
        ids = tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, return_dict=False)
        return status, table | {"usage": {"prompt_tokens": len(ids), "completion_tokens": 5, "total_tokens": 9}}

    with serving(reply) as server:
        assert len(answers(server.url, 3, tokenizer=tokenizer)) == 3


def test_no_server_another_model_or_no_address_is_said_before_anything_runs() -> None:
    with pytest.raises(EngineError, match=r"no server answers at http://127\.0\.0\.1:9/v1"):
        engine.connect("m", url="http://127.0.0.1:9/v1")
    with serving(echo) as server:
        with pytest.raises(EngineError, match="has no model 'n'; it has m"):
            engine.connect("n", url=server.url)
        server.models = (401, {})
        with pytest.raises(EngineError, match=r"refuses to list its models: 401.*OPENAI_API_KEY"):
            engine.connect("m", url=server.url)
        server.models = (404, {})
        assert engine.connect("m", url=server.url).name == "m"
    with pytest.raises(QuantguardError, match="give its address"):
        engine.connect("m", url=None)


def listing(*names: Any) -> Answer:
    return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


@pytest.mark.parametrize("name", ["m", "org/model-w8a8", "/models/m", "other/Model-x"])
def test_a_server_that_lists_other_models_is_an_error_that_names_them(name: str) -> None:
    with serving(echo) as server:
        server.models = listing("other/Model-X", "a")
        with pytest.raises(EngineError, match=f"has no model {name!r}; it has a, other/Model-X.*--served-model-name"):
            engine.connect(name, url=server.url)
        server.models = listing("other", name)
        assert engine.connect(name, url=server.url).notes == ()


@pytest.mark.parametrize(
    "models",
    [(404, {}), (500, {}), (501, b"no"), listing()],
    ids=["not found", "an error of its own", "not implemented", "an empty list"],
)
def test_a_server_that_lists_none_is_taken_at_its_word_which_is_noted(models: Answer) -> None:
    with serving(echo) as server:
        server.models = models
        (note,) = engine.connect("m", url=server.url).notes
    assert "lists no models" in note


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b"<html>log in</html>",
        b"null",
        {"data": None},
        {"models": []},
        {"data": [{"name": "m"}]},
        {"data": {}},
    ],
    ids=repr,
)
def test_what_lists_something_else_is_no_interface(body: Any) -> None:
    with serving(echo) as server:
        server.models = (200, body)
        with pytest.raises(EngineError, match="is not the address of an OpenAI-compatible interface"):
            engine.connect("m", url=server.url)


@pytest.mark.parametrize(
    ("ending", "typed"),
    [
        ("", None),
        ("/", None),
        (" ", None),
        ("/chat/completions", ""),
        ("/models/", ""),
        ("/v1", ""),
        ("?key=1", ""),
        ("#x", ""),
    ],
    ids=repr,
)
def test_an_address_that_ends_otherwise_is_told_how_it_ends(ending: str, typed: str | None) -> None:
    with serving(echo) as server:
        if typed is None:
            assert engine.connect("m", url=server.url + ending).url == server.url
            return
        if ending == "/v1":
            server.url, ending = server.url.removesuffix("/v1"), ""
            typed = "/v1"
        with pytest.raises(QuantguardError, match=f"type endpoint='{server.url}{typed}'|Type endpoint='{server.url}'"):
            engine.connect("m", url=server.url + ending)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("localhost:8000/v1", "type endpoint='http://localhost:8000/v1'"),
        ("127.0.0.1:8000/v1", "type endpoint='http://127.0.0.1:8000/v1'"),
        ("//host/v1", "type endpoint='http://host/v1'"),
        ("ftp://host/v1", "type endpoint='http://host/v1'"),
        ("http://host:80000/v1", "is no address: Port out of range"),
        ("http://host:port/v1", "is no address"),
        ("http://[::1/v1", "is no address"),
        ("http:///v1", "names no host"),
        ("http://ho st/v1", "names no host"),
        ("", "is no address"),
        ("http://me:secret@host/v1", "export OPENAI_API_KEY=KEY, and endpoint='http://host/v1'"),
    ],
    ids=repr,
)
def test_what_is_no_address_is_told_before_anything_is_asked(url: str, complaint: str) -> None:
    with pytest.raises(QuantguardError, match=complaint) as caught:
        engine.connect("m", url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
@pytest.mark.parametrize("value", ["sk-ü", "sk-1\n", "sk 1", "“sk-1”", "sk-\u200b"], ids=ascii)
def test_a_key_that_no_header_can_hold_is_told_and_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(QuantguardError, match=rf"{name} has a character .* type: export {name}='…'") as caught:
        engine.connect("m", url="http://127.0.0.1:9/v1")
    assert "sk" not in str(caught.value).replace("ask", "")


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", ["ALL_PROXY", "HTTP_PROXY", "https_proxy", "all_proxy"])
@pytest.mark.parametrize(
    ("proxy", "complaint"),
    [
        ("socks5://me:secret@127.0.0.1:9", "pip install socksio; or, where no proxy is needed, unset {name}"),
        ("socks5h://127.0.0.1:9", "pip install socksio; or, where no proxy is needed, unset {name}"),
        ("socks4://127.0.0.1:9", "socks4 is not one of http, https, socks5, socks5h"),
        ("http://127.0.0.1:port", "is no address"),
    ],
    ids=["socks5", "socks5h", "socks4", "no address"],
)
def test_a_proxy_that_the_client_does_not_speak_to_is_told(
    name: str, proxy: str, complaint: str, proxies: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    proxies.setattr(importlib.util, "find_spec", lambda one: None if one == "socksio" else find(one))
    proxies.setenv(name, proxy)
    # Those that are not in its way as well: the client prepares for all of them.
    with pytest.raises(EngineError, match=complaint.format(name=name)) as caught:
        engine.connect("m", url="http://127.0.0.1:9/v1")
    assert "secret" not in str(caught.value)


def test_a_proxy_that_does_not_let_one_through_is_told(proxies: pytest.MonkeyPatch) -> None:
    proxies.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    with serving(echo) as server:
        told = "the proxy http://127.0.0.1:9: where none is needed, type: export NO_PROXY=127.0.0.1"
        with pytest.raises(EngineError, match=told) as caught:
            engine.connect("m", url=server.url)
        assert "secret" not in str(caught.value)
        proxies.setenv("NO_PROXY", "127.0.0.1")
        assert len(answers(server.url, 2)) == 2
    with serving(echo) as proxy:
        proxies.delenv("NO_PROXY")
        proxies.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        for status in (407, 502, 503):
            proxy.models = (status, b"<html>no</html>")
            with pytest.raises(EngineError, match=f"{status}, .*through the proxy .*NO_PROXY=npu-host"):
                engine.connect("m", url="http://npu-host:8000/v1")


def test_no_proxy_for_every_host_is_none_at_all(proxies: pytest.MonkeyPatch) -> None:
    proxies.setenv("ALL_PROXY", "socks4://127.0.0.1:9")
    proxies.setenv("NO_PROXY", "localhost, *")
    with serving(echo) as server:
        assert len(answers(server.url, 2)) == 2


@pytest.mark.parametrize(
    ("asked", "said", "same"),
    [
        ("m", "org/m", True),
        ("org/m", "m", True),
        ("/models/m", "/models/m@main", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("m-2026-01-31", "m-2026-01-31", True),
        ("m:latest", "m:latest", True),
        ("org/m", "other/m", False),
        ("m", "m-w8a8", False),
        ("m-w8a8", "m", False),
        ("model", "l", False),
        ("gpt-4", "gpt-4-turbo", False),
    ],
)
def test_names_are_of_one_model_or_not(asked: str, said: str, same: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    assert client._is_name_of(said, asked) is same


def test_an_address_that_sends_one_on_is_told_where() -> None:
    with serving(echo) as server, serving(echo) as first:
        first.models, first.location = (307, b""), f"{server.url}/models"
        with pytest.raises(EngineError, match=f"sends one on to {server.url}: type endpoint='{server.url}'"):
            engine.connect("m", url=first.url)
        first.models, first.location = (302, b""), f"{server.url}/log-in"
        server.models = (200, b"<html>log in</html>")
        with pytest.raises(EngineError, match="is a page of HTML"):
            engine.connect("m", url=first.url)


def test_a_server_of_the_other_scheme_is_told() -> None:
    with serving(echo) as server:
        secure = server.url.replace("http", "https")
        with pytest.raises(EngineError, match=f"The server seems to speak http: type endpoint='{server.url}'"):
            engine.connect("m", url=secure)
        server.models = (400, b"<html>The plain HTTP request was sent to HTTPS port</html>")
        with pytest.raises(EngineError, match=f"The server seems to speak https: type endpoint='{secure}'"):
            engine.connect("m", url=server.url)


def test_without_its_package_the_engine_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openai" else find(name))
    with pytest.raises(EngineError, match=r"pip install 'quantguard\[openai\]'"):
        engine.connect("m", url="http://127.0.0.1:9/v1")


def test_a_second_run_asks_only_for_what_is_missing(tmp_path: pathlib.Path) -> None:
    gone = False

    def reply(_body: dict[str, Any], number: int) -> Answer:
        if gone and number > 20:
            return 503, {}
        return 200, completion(r"\boxed{1}")

    def run() -> quantguard.records.RunRecord:
        subject = dataclasses.replace(engine.connect("m", url=server.url), max_retries=0)
        return quantguard.evaluate(subject, subset=50, batch_size=1, store=GenerationStore(tmp_path))

    with serving(reply) as server:
        gone = True
        with pytest.raises(EngineError, match="left 30 of 50 requests unanswered"):
            run()
        asked = [body["messages"][0]["content"] for body in server.asked if body]
        gone, before = False, len(asked)
        record = run()
        later = [body["messages"][0]["content"] for body in server.asked[before:]]
    assert len(later) == 30
    assert not set(later) & set(asked[:20])
    assert len(record.scores) == 50
    assert record.notes[0].startswith("20 of 50 answers are of a run that began at")
    assert (record.recipe_name, record.platform) == ("as-served", "endpoint")
