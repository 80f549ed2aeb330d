"""The number that an answer ends in, and what is none."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantguard import benchmarks
from quantguard.errors import QuantguardError
from quantguard.records import FinishReason, Generation, Sample, Score
from quantguard.scorers import numbers


def score(text: str, target: str = "7", *, finish_reason: FinishReason = "stop") -> Score:
    generation = Generation(sample_id="a", epoch=0, text=text, num_tokens=3, finish_reason=finish_reason)
    return numbers.score(Sample(id="a", input="?", target=target), generation)


@pytest.mark.parametrize(
    ("text", "target", "rule"),
    [
        ("3 + 4 = 7", "7", "last-number"),
        ("3+4=7", "7", "last-number"),
        ("It is 7.", "7", "last-number"),
        ("**7**", "7", "last-number"),
        ("She has 7!", "7", "last-number"),
        ("It costs $1,234.50.", "1234.5", "last-number"),
        ("The profit is -$3.", "-3", "last-number"),
        ("The profit is $-3.", "-3", "last-number"),
        (r"It is -\$3.", "-3", "last-number"),
        ("7.0", "7", "last-number"),
        ("It is .5", "0.5", "last-number"),
        ("1e3", "1000", "last-number"),
        ("12%", "12", "last-number"),
        (r"12\%", "12", "last-number"),
        ("-5", "-5", "last-number"),
        ("\u22125", "-5", "last-number"),
        ("\uff17", "7", "last-number"),
        ("$7$", "7", "last-number"),
        (r"\(7\).", "7", "last-number"),
        ("x=7", "7", "last-number"),
        ("answer:7", "7", "last-number"),
        ("It weighs 7kg.", "7", "last-number"),
        ("It weighs 7 kg.", "7", "last-number"),
        ("a 7-year-old", "7", "last-number"),
        ("答案是7个苹果。", "7", "last-number"),
        ("5 apples and 7 pears", "7", "last-number"),
        ("12 and 15 make 7.", "7", "last-number"),
        ("at least 7 boxes", "7", "last-number"),
        ("Altogether:\n- 7 apples", "7", "last-number"),
        ("7 litres of H2O", "7", "last-number"),
        ("3 * 4 = $<<3*4=12>>12", "12", "last-number"),
        ("so it is $70/quiz", "70", "last-number"),
        ("Step 2: 7 apples", "7", "last-number"),
        ("After 2 hours 7 people came", "7", "last-number"),
        ("#### 72\nstep 2 has 3 parts", "72", "marked"),
        ("#### 8\nNo.\n#### 72", "72", "marked"),
        ("#### $72", "72", "marked"),
        ("#### -$3", "-3", "marked"),
        ("#### **72**", "72", "marked"),
        ("#### 72 apples", "72", "marked"),
        ("#### 3/4", "0.75", "marked"),
        (r"#### \frac{3}{4}", "0.75", "marked"),
        ("#### 10,000", "10000", "marked"),
        ("#### Answer: 72", "72", "marked"),
        ("#### 5 million", "5,000,000", "marked"),
        ("#### Step 2: add\nit is 7", "7", "last-number"),
        ("#### 2. Add\nit is 7", "7", "last-number"),
        ("\\boxed{7} and then 8", "7", "boxed"),
        (r"\boxed{2^{3}-1}", "7", "boxed"),
        (r"\boxed{x = 7\text{ apples}}", "7", "boxed"),
        ("<think>It is 9.</think>7", "7", "last-number"),
    ],
)
def test_a_right_number_is_found(text: str, target: str, rule: str) -> None:
    found = score(text, target)
    assert (found.value, found.explanation) == (1.0, rule)


@pytest.mark.parametrize("text", ["8", "77", "0.7", "-7", "7,000", "7e1", "#### 8\n7", "\\boxed{8} 7"])
def test_another_number_is_wrong(text: str) -> None:
    found = score(text)
    assert (found.value, found.explanation != "unparsed") == (0.0, True)


UNREADABLE = {
    "no number": ["", "seven", "x7", "<think>7", "7<think>no end"],
    "a fraction": ["1/7", "7/8", "7 1/2", "7\u00bd", "7 and a half", r"\frac{1}{7}", r"\frac17", "3 of 7", "half of 7"],
    "a power, root or sum": [
        "2^7",
        "2 ^ 7",
        "2**7",
        "7\u00b2",
        "7 squared",
        r"\sqrt{7}",
        "\u221a7",
        "3 + 7",
        "3 * 7",
        "7x",
    ],
    "a date, time or version": ["2024-05-07", "7/8/2024", "10:07", "3 : 7", "7:30", "1.2.7"],
    "a choice": ["7 or 8", "8 or 7", "$8 or $7", "#### 8 or 7", "#### 7 and 8"],
    "a range": [
        "5-7",
        r"\boxed{5-7}",
        "7-9",
        "5\u20137",
        "5 to 7",
        "between 5 and 7",
        "#### 5-7",
        "#### 5 - 7",
        "7 \u00b1 1",
        "#### 5\u20137",
    ],
    "a list": ["1,2,7", "8; 7", "1, 2, 7", "#### 7, 8", r"\boxed{7,8}", r"\boxed{\{7\}}", r"\boxed{(7,7)}"],
    "digits set apart": ["1,7", "12,7", "1.234,7", "1,234,7", "1_7", "#### 12,7", "1 7"],
    "changed by a word": [
        "negative 7",
        "minus 7",
        "not 7",
        "less than 7",
        "7 million",
        "7 dozen",
        "7k",
        "7th",
        "7\u4e07",
    ],
    "two units": [
        "2 hours 7 minutes",
        "2 hours and 7 minutes",
        "2 feet 7 inches",
        r"\boxed{2\text{ hours }7\text{ minutes}}",
    ],
    "digits that go on": ["0.7...", "12.7\u2026", "#### 12.7..."],
    "times pi": ["7\u03c0", "7 \u03c0", r"7\pi", r"7 \pi"],
    "two signs": ["--7", "+-7", "#### --7"],
    "a mark or box that cannot be read": [
        "#### 7/0",
        "#### 12:07",
        "#### 7 1/2",
        "7 \\boxed{",
        "\\boxed{7} no \\boxed{",
        "7 \\boxed{}",
    ],
    "to another base": [r"\boxed{7_8}", r"\boxed{7\text{ base }8}"],
}


@pytest.mark.parametrize("text", [text for texts in UNREADABLE.values() for text in texts])
@pytest.mark.parametrize("target", ["7", "8", "2", "10", "17", "127", "12.7"])
def test_what_is_no_number_is_unparsed(text: str, target: str) -> None:
    found = score(text, target)
    assert (found.value, found.explanation, found.answer) == (0.0, "unparsed", None)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (r"\boxed{\frac{1}{2}}", "2"),
        (r"#### \frac{3}{4}", "4"),
        (r"\boxed{2^{10}}", "10"),
        (r"\boxed{\sqrt{16}}", "16"),
        ("The profit is -$3.", "3"),
        ("#### 5 million", "5"),
    ],
)
def test_a_part_of_an_answer_is_not_the_answer(text: str, wrong: str) -> None:
    assert score(text, wrong).value == 0.0


@pytest.mark.parametrize(
    "further",
    [
        "\n\nQuestion: another?\nAnswer: 99\n#### 99",
        "\nQ: 5 + 5?\nA: \\boxed{10}",
        "\n**Question 2:** 8?",
        "\nHuman: and 8?",
        "\nUser: thanks\n8",
        "<|im_end|>\n<|im_start|>assistant\n8",
        "</s> 8",
    ],
)
@pytest.mark.parametrize("answer", ["#### 7", "It is 7", r"\boxed{7}"])
def test_nothing_behind_the_turn_of_somebody_else_counts(answer: str, further: str) -> None:
    assert score(answer + further).value == 1.0


def test_a_question_that_the_answer_begins_with_is_no_other_turn() -> None:
    assert score("Question: what is 3 + 4?\nIt is 7").value == 1.0


@settings(deadline=None, max_examples=100)
@given(
    value=st.integers(-(10**9), 10**9) | st.decimals(-(10**6), 10**6, places=3),
    other=st.integers(-(10**9), 10**9) | st.decimals(-(10**6), 10**6, places=3),
    frame=st.sampled_from(
        ["It is {}.", "#### {}", "so\n#### {}\nas shown", r"\boxed{{{}}}", "**{}**", "{} apples", "= {}"]
    ),
)
def test_a_number_equals_itself_in_any_frame_and_no_other(
    value: int | Decimal, other: int | Decimal, frame: str
) -> None:
    for spelling in (f"{value}", f"{value:,}", f"${value:,}", f"{value}".replace("-", "\u2212")):
        text = frame.format(spelling.replace("$-", "-$"))
        assert score(text, str(value)).value == 1.0, text
        assert score(text, str(other)).value == float(value == other), text


def test_an_answer_at_the_limit_is_truncated_whatever_it_holds() -> None:
    assert score("7", finish_reason="length").explanation == "truncated"


def test_a_target_that_is_no_number_is_an_error() -> None:
    with pytest.raises(QuantguardError, match="'seven' is no number"):
        score("7", "seven")


def test_sums_are_what_they_say() -> None:
    data = benchmarks.members["sums"].load()
    assert len(data.samples) == 400
    for sample in data.samples:
        left, right = map(int, sample.id.split("+"))
        assert sample.target == str(left + right)
        assert data.prompt(sample) == f"What is {left} + {right}?\nAnswer with the number only."
