"""A served model: every request is answered or the run says how many were not, and a failure is never an answer."""

import dataclasses
import importlib.util
import pathlib
from typing import Any

import pytest
from serving import Answer, completion, serving

import quantguard
from quantguard.engines import openai as engine
from quantguard.engines._prompting import Request
from quantguard.errors import EngineError, QuantguardError
from quantguard.modeling.loading import tokenizer_of
from quantguard.pipeline import GenerationStore
from quantguard.records import Generation, GenerationConfig

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


@pytest.mark.parametrize("reason", [None, "abort", "content_filter", "tool_calls"])
def test_an_answer_that_the_server_broke_off_is_a_failure(reason: str | None) -> None:
    broken_off = completion("7", finish_reason=reason)
    with (
        serving(lambda _body, _number: (200, broken_off)) as server,
        pytest.raises(EngineError, match=f"finish_reason {reason!r}"),
    ):
        answers(server.url, 1)


def test_a_server_that_counts_no_tokens_is_refused() -> None:
    def reply(body: dict[str, Any], number: int) -> Answer:
        status, table = echo(body, number)
        return status, table | {"usage": None}

    with serving(reply) as server, pytest.raises(EngineError, match="how many tokens"):
        answers(server.url, 1)


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
