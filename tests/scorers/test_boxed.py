r"""The scorer reads the last \boxed{} after the thinking part, and nothing else."""

import time

import pytest

from quantguard.errors import QuantguardError
from quantguard.records import Generation, Sample
from quantguard.scorers import boxed
from quantguard.scorers._answers import last_boxed


def judged(text: str, target: str = "42", *, finish_reason: str = "stop") -> tuple[float | None, str]:
    generation = Generation(sample_id="a", epoch=0, text=text, num_tokens=5, finish_reason=finish_reason)  # type: ignore[arg-type]
    result = boxed.score(Sample(id="a", input="?", target=target), generation)
    return result.value, result.explanation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(r"<think>1+1</think> \boxed{42}", (1.0, "boxed"), id="after thinking"),
        pytest.param(r"\boxed{42}", (1.0, "boxed"), id="without thinking"),
        pytest.param(r"\boxed{41} no, \boxed{42}", (1.0, "boxed"), id="the last box counts"),
        pytest.param(r"\boxed{42} no, \boxed{41}", (0.0, "boxed"), id="a right box that was taken back"),
        pytest.param(r"<think>\boxed{42}</think> I give up", (0.0, "unparsed"), id="a box in the thinking"),
        pytest.param(r"<think>so \boxed{42}", (0.0, "unparsed"), id="thinking never closed"),
        pytest.param(r"<think>a</think><think>\boxed{42}", (0.0, "unparsed"), id="a second thinking never closed"),
        pytest.param(r"x</think> \boxed{42}", (1.0, "boxed"), id="thinking opened by the template"),
        pytest.param(r"\boxed{42", (0.0, "unparsed"), id="a box never closed"),
        pytest.param(
            r"\boxed{42}. No: \boxed{4", (0.0, "unparsed"), id="a box that another one took back, never closed"
        ),
        pytest.param(r"\boxed{42}. No: \boxed{\left\{ 4 \right.}", (0.0, "unparsed"), id="taken back, escaped brace"),
        pytest.param(r"\boxed{42}. No: \boxed", (1.0, "boxed"), id="a macro without anything behind it is no box"),
        pytest.param(r"\boxed{42}. No: \boxed{}", (0.0, "unparsed"), id="taken back by nothing"),
        pytest.param(r"\boxed{42}. No: \boxed{?}", (0.0, "unparsed"), id="taken back by a question mark"),
        pytest.param(r"\boxed{42}. No: \boxed\frac12", (0.0, "unparsed"), id="taken back by a macro without braces"),
        pytest.param(r"\boxed{42}. No: \boxed-4", (0.0, "unparsed"), id="taken back by a sign without braces"),
        pytest.param(r"\boxed{42}. No: \boxed12", (0.0, "unparsed"), id="taken back by two digits without braces"),
        pytest.param(r"\boxed{42}. No: \boxed4.5", (0.0, "unparsed"), id="taken back by a decimal without braces"),
        pytest.param("\\boxed{41}. No: \\boxed \n {42}", (1.0, "boxed"), id="white space before the brace"),
        pytest.param(r"\boxed{42}. No: \boxed {41}", (0.0, "boxed"), id="white space before the brace of another"),
        pytest.param(r"\fbox{42}", (1.0, "boxed"), id="another macro for a box"),
        pytest.param(r"\boxed{42}. No: \fbox{41}", (0.0, "boxed"), id="the last box of either macro"),
        pytest.param(r"\boxed{\boxed{42}}", (1.0, "boxed"), id="a box within a box"),
        pytest.param(r"\boxed{4 + \boxed{42}}", (0.0, "unparsed"), id="a box within a sum within a box"),
        pytest.param(r"{\boxed{42}", (1.0, "boxed"), id="a stray brace before the box"),
        pytest.param(r"\{\boxed{42}", (1.0, "boxed"), id="an escaped brace before the box"),
        pytest.param(r"\\boxed{42}", (1.0, "boxed"), id="two backslashes"),
        pytest.param(
            r"42, I put it in a \boxed environment: \boxed{42}", (1.0, "boxed"), id="a macro that is spoken of"
        ),
        pytest.param(r"\boxed{42}, in a \boxed environment.", (1.0, "boxed"), id="a macro that is spoken of behind it"),
        pytest.param(r"\boxedtext{42}", (0.0, "unparsed"), id="another macro"),
        pytest.param(r"\boxed{{{{{{55}.", (0.0, "unparsed"), id="braces run wild"),
        pytest.param(r"\boxed{}", (0.0, "unparsed"), id="an empty box"),
        pytest.param(r"\boxed{42.0}", (1.0, "boxed"), id="a decimal"),
        pytest.param(r"\boxed{ \$42 }", (1.0, "boxed"), id="money"),
        pytest.param(r"\boxed{$42$}", (1.0, "boxed"), id="math mode"),
        pytest.param(r"\boxed{4200}", (0.0, "boxed"), id="a hundredfold"),
        pytest.param(r"\boxed{NaN}", (0.0, "unparsed"), id="no number"),
        pytest.param(r"\boxed{42, 43}", (0.0, "unparsed"), id="a list"),
        pytest.param(r"\boxed{4_2}", (0.0, "unparsed"), id="an underscore"),
        pytest.param("42", (0.0, "unparsed"), id="no box"),
    ],
)
def test_scoring(text: str, expected: tuple[float, str]) -> None:
    assert judged(text) == expected


def test_a_single_character_needs_no_braces() -> None:
    for text in (r"\boxed5", r"\boxed 5", r"so \boxed5.", r"$\boxed5$"):
        assert judged(text, "5") == (1.0, "boxed")


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("1,234", "1234"),
        ("-1,234,567.50", "-1234567.5"),
        ("\u22127", "-7"),
        ("-$3", "-3"),
        ("$-3", "-3"),
        (r"-\$1,000", "-1000"),
        ("\uff14\uff12", "42"),
        (".5", "0.50"),
        ("5.", "5"),
        ("1e3", "1,000"),
        ("+7", "7"),
        ("007", "7"),
        (r"\(7\)", "7"),
        ("0." + "0" * 40 + "1", "1e-41"),
        ("1" * 5000, "1" * 5000 + ".0"),
    ],
)
def test_one_number_is_written_in_many_ways(answer: str, target: str) -> None:
    assert judged(rf"\boxed{{{answer}}}", target) == (1.0, "boxed")
    assert boxed.same_answer(target, answer)


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("12,5", "125"),
        ("12,5", "12.5"),
        ("1,23", "123"),
        ("1,2345", "12345"),
        ("1234,567", "1234567"),
        ("1,234,56", "123456"),
        ("0,123", "123"),
        (",123", "123"),
        ("1,,000", "1000"),
        ("1, 234", "1234"),
        ("3, 5, 7", "357"),
        ("1.234,5", "1234.5"),
        ("1_000", "1000"),
        ("1 000", "1000"),
        ("10\u00b2", "102"),
        ("2\u00bd", "2"),
        ("--7", "7"),
        ("+-7", "-7"),
        ("7-", "7"),
        ("$7$8", "78"),
        ("0x10", "16"),
        ("1e999999999999", "1"),
        ("Infinity", "1"),
        ("\u0661\u0662", "12"),
    ],
)
def test_what_is_no_number_is_unparsed_and_equal_to_none(answer: str, target: str) -> None:
    assert judged(rf"\boxed{{{answer}}}", target) == (0.0, "unparsed")
    assert judged(rf"\boxed{{{answer}}}", answer) == (1.0, "boxed")


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("1e-50", "0"),
        ("1e-50", "2e-50"),
        ("1e50", "1e51"),
        ("-3", "3"),
        ("$5", "€5"),
        ("0.1", "0.10000000000000000555"),
    ],
)
def test_other_numbers_are_other_ones_of_any_size(answer: str, target: str) -> None:
    assert judged(rf"\boxed{{{answer}}}", target) == (0.0, "boxed")


def test_text_answers_are_compared_as_text() -> None:
    assert judged(r"\boxed{\frac{1}{2}}", r"\frac{1}{2}") == (1.0, "boxed")
    assert judged(r"\boxed{\{1, 2\}}", r"\{1, 2\}") == (1.0, "boxed")
    assert judged(r"\boxed{NaN}", "NaN") == (1.0, "boxed")
    assert judged(r"\boxed{no}", "NaN") == (0.0, "boxed")


def test_many_boxes_within_each_other_are_read_soon() -> None:
    started = time.process_time()
    assert last_boxed(r"\boxed{" * 20_000 + "5" + "}" * 20_000) == "5"
    assert last_boxed(r"\boxed{" * 20_000 + "5") is None
    assert time.process_time() - started < 5


def test_an_answer_cut_by_the_limit_is_truncated_even_if_a_box_is_there() -> None:
    assert judged(r"\boxed{42}", finish_reason="length") == (0.0, "truncated")


def test_a_sample_without_a_target_is_refused() -> None:
    generation = Generation(sample_id="a", epoch=0, text="", num_tokens=0, finish_reason="stop")
    with pytest.raises(QuantguardError, match="no target"):
        boxed.score(Sample(id="a", input="?"), generation)
