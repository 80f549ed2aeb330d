"""Thinking is told from the answer, and a loop from text that only says a thing more than once."""

import itertools
import statistics

import pytest

from quantguard.records import Generation, Score
from quantguard.scorers._reasoning_text import after_thinking, is_repeating
from quantguard.stats import pass_at_k
from quantguard.verdict.metrics import reasoning, summarize

SENTENCE = "Wait, let me check that the sum of the digits is nine. "
LONG = " ".join(f"word{n}" for n in range(150)) + ". "


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param("<think>a</think>b", "b", id="closed"),
        pytest.param("a</think>b", "b", id="opened by the template"),
        pytest.param("<think>a", "", id="never closed"),
        pytest.param("<think>a</think>b<think>c", "", id="opened again"),
        pytest.param("[unused16]a[unused17]b", "b", id="openPangu"),
        pytest.param("[unused16]a", "", id="openPangu, never closed"),
        pytest.param("b", "b", id="no thinking"),
    ],
)
def test_the_answer_is_what_follows_the_thinking(text: str, answer: str) -> None:
    assert after_thinking(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SENTENCE * 5, id="a sentence five times"),
        pytest.param("It is 6. " + SENTENCE * 4 + "So it is 6.", id="within other text"),
        pytest.param("no " * 60, id="a word"),
        pytest.param(LONG * 4, id="a passage of 150 words"),
        pytest.param("所以答案是六。" * 8, id="a script without spaces"),
        pytest.param("<think>" + SENTENCE * 40, id="until the limit"),
    ],
)
def test_a_loop_is_seen(text: str) -> None:
    assert is_repeating(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("6", id="a number"),
        pytest.param(LONG * 2, id="a passage twice"),
        pytest.param(SENTENCE * 3, id="a sentence three times"),
        pytest.param("0 & 0 & 0 & 0 & 0 & 0 & 0 & 0", id="zeros of a matrix"),
        pytest.param(" ".join(f"Step {n}: add {n} to get {n * (n + 1) // 2}." for n in range(40)), id="steps alike"),
        pytest.param("no, yes, " * 9, id="a few words to and fro"),
    ],
)
def test_what_is_no_loop_is_not_taken_for_one(text: str) -> None:
    assert not is_repeating(text)


def test_the_rates_of_a_run() -> None:
    texts = ("<think>ab</think>c", SENTENCE * 5)
    generations = [
        Generation(sample_id=str(n), epoch=0, text=text, num_tokens=1, finish_reason="stop")
        for n, text in enumerate(texts)
    ]
    found = reasoning(generations)
    assert found["repeating"] == 0.5
    assert found["mean_thinking_chars"] == len("<think>ab</think>") / 2
    assert found["mean_answer_chars"] == (1 + len(texts[1])) / 2


def test_answers_that_were_not_compared_in_time_show_in_the_rates() -> None:
    scores = [
        Score(sample_id=rule, epoch=0, value=0.0, answer="x", explanation=rule, num_tokens=1, finish_reason="stop")
        for rule in ("timeout", "exact")
    ]
    assert summarize(scores)["timeout"] == 0.5


def test_several_epochs_have_pass_at_k_and_a_spread() -> None:
    values = {"a": (1.0, 1.0, 0.0), "b": (0.0, 0.0, 0.0)}
    scores = [
        Score(sample_id=id_, epoch=e, value=v, answer="x", explanation="boxed", num_tokens=1, finish_reason="stop")
        for id_, epochs in values.items()
        for e, v in enumerate(epochs)
    ]
    found = summarize(scores)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["pass@3"] == 0.5
    assert found["accuracy_sd"] == pytest.approx(statistics.stdev((0.5, 0.5, 0.0)))
    assert "pass@1" not in summarize(scores[:1])


@pytest.mark.parametrize(("n", "c", "k"), [(1, 0, 1), (5, 2, 1), (5, 2, 3), (5, 5, 2), (10, 1, 10), (10, 0, 4)])
def test_pass_at_k_is_the_share_of_draws_with_a_right_answer(n: int, c: int, k: int) -> None:
    draws = list(itertools.combinations(range(n), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(one < c for one in draw) for draw in draws) / len(draws))
    with pytest.raises(ValueError, match="right of"):
        pass_at_k(n, n + 1, k)
