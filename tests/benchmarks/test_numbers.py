"""The number that an answer ends in, and what is none."""

import pytest

from quantguard.errors import QuantguardError
from quantguard.records import FinishReason, Generation, Sample, Score
from quantguard.registry import benchmarks
from quantguard.scorers import numbers


def score(text: str, target: str = "7", *, finish_reason: FinishReason = "stop") -> Score:
    generation = Generation(sample_id="a", epoch=0, text=text, num_tokens=3, finish_reason=finish_reason)
    return numbers.score(Sample(id="a", input="?", target=target), generation)


@pytest.mark.parametrize(
    ("text", "target", "rule"),
    [
        ("3 + 4 = 7", "7", "last-number"),
        ("It is 7.", "7", "last-number"),
        ("**7**", "7", "last-number"),
        ("It costs $1,234.50.", "1234.5", "last-number"),
        ("7.0", "7", "last-number"),
        ("12%", "12", "last-number"),
        ("-5", "-5", "last-number"),
        ("\u22125", "-5", "last-number"),
        ("#### 72\nstep 2 has 3 parts", "72", "marked"),
        ("#### $72", "72", "marked"),
        ("\\boxed{7} and then 8", "7", "boxed"),
        ("<think>It is 9.</think>7", "7", "last-number"),
    ],
)
def test_a_right_number_is_found(text: str, target: str, rule: str) -> None:
    found = score(text, target)
    assert (found.value, found.explanation) == (1.0, rule)


@pytest.mark.parametrize("text", ["8", "7 or 8", "77", "0.7", "-7", "7,000", "#### 8\n7", "\\boxed{8} 7"])
def test_another_number_is_wrong(text: str) -> None:
    assert score(text).value == 0.0


@pytest.mark.parametrize(
    "text", ["", "seven", "1/7", "2024-05-07", "x7", "1.2.7", "10:07", "<think>7", "7<think>no end", "1,7"]
)
def test_what_is_no_number_is_unparsed(text: str) -> None:
    found = score(text)
    assert (found.value, found.explanation, found.answer) == (0.0, "unparsed", None)


def test_an_answer_at_the_limit_is_truncated_whatever_it_holds() -> None:
    assert score("7", finish_reason="length").explanation == "truncated"


def test_a_target_that_is_no_number_is_an_error() -> None:
    with pytest.raises(QuantguardError, match="'seven' is no number"):
        score("7", "seven")


def test_sums_are_what_they_say() -> None:
    data = benchmarks["sums"].load()
    assert len(data.samples) == 400
    for sample in data.samples:
        left, right = map(int, sample.id.split("+"))
        assert sample.target == str(left + right)
        assert data.prompt(sample) == f"What is {left} + {right}?\nAnswer with the number only."
