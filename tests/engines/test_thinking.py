"""Each family of chat templates is asked for a thinking mode in its own way, and for one that it lacks not at all."""

import copy
import dataclasses

import pytest

import quantguard
from quantguard.engines._prompting import render
from quantguard.errors import UsageError
from quantguard.modeling import LoadedModel

# As short as they can be and still be told apart; what the vendors' say beside is not looked at.
QWEN3 = (
    "{{ messages[0].content }}|{% if enable_thinking is defined and enable_thinking is false %}"
    "<think></think>{% endif %}"
)
OPENPANGU = "[unused9]u: {{ messages[0].content }}[unused10][unused9]a: "
DEEPSEEK_R1 = "user: {{ messages[0].content }} assistant: <think>"
PLAIN = "user: {{ messages[0].content }}"


def with_template(template: str | None) -> LoadedModel:
    loaded = quantguard.load("tiny-reasoner")
    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.chat_template = template
    return dataclasses.replace(loaded, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("template", "mode", "prompt"),
    [
        pytest.param(QWEN3, None, "1+1|", id="Qwen3 by default"),
        pytest.param(QWEN3, "slow_think", "1+1|", id="Qwen3 thinks"),
        pytest.param(QWEN3, "no_think", "1+1|<think></think>", id="Qwen3 does not"),
        pytest.param(OPENPANGU, "slow_think", "[unused9]u: 1+1[unused10][unused9]a: ", id="openPangu thinks"),
        pytest.param(OPENPANGU, "no_think", "[unused9]u: 1+1 /no_think[unused10][unused9]a: ", id="openPangu does not"),
        pytest.param(
            OPENPANGU,
            "auto_think",
            "[unused9]u: 1+1 /auto_think[unused10][unused9]a: ",
            id="openPangu decides",
        ),
        pytest.param(DEEPSEEK_R1, "slow_think", "user: 1+1 assistant: <think>", id="DeepSeek-R1 always thinks"),
        pytest.param(PLAIN, None, "user: 1+1", id="no thinking"),
        pytest.param(None, None, "1+1", id="no template"),
    ],
)
def test_a_mode_is_asked_for_as_the_family_has_it(template: str | None, mode: str | None, prompt: str) -> None:
    assert render(with_template(template), "1+1", mode) == prompt


@pytest.mark.parametrize(
    ("template", "mode", "complaint"),
    [
        pytest.param(QWEN3, "auto_think", "it has slow_think, no_think", id="Qwen3 does not decide"),
        pytest.param(DEEPSEEK_R1, "no_think", "it has slow_think", id="DeepSeek-R1 always thinks"),
        pytest.param(PLAIN, "no_think", "it has no thinking modes; leave mode out", id="no thinking"),
        pytest.param(None, "slow_think", "it has no thinking modes; leave mode out", id="no template"),
        pytest.param(OPENPANGU, "fast", "it has slow_think, auto_think, no_think", id="no mode at all"),
    ],
)
def test_a_mode_that_a_template_lacks_is_refused(template: str | None, mode: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        render(with_template(template), "1+1", mode)
