r"""The scorer reads the last \boxed{} after the thinking part, and nothing else."""

import pytest

from quantguard.errors import QuantguardError
from quantguard.records import Generation, Sample
from quantguard.scorers import boxed


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
        pytest.param(r"\boxed{42} and \boxed{4", (1.0, "boxed"), id="the last complete box"),
        pytest.param(r"\boxed{{{{{{55}.", (0.0, "unparsed"), id="braces run wild"),
        pytest.param(r"\boxed{}", (0.0, "boxed"), id="an empty box"),
        pytest.param(r"\boxed{42.0}", (1.0, "boxed"), id="a decimal"),
        pytest.param(r"\boxed{ \$42 }", (0.0, "boxed"), id="an escaped dollar is not the number"),
        pytest.param(r"\boxed{$42$}", (1.0, "boxed"), id="math mode"),
        pytest.param(r"\boxed{4200}", (0.0, "boxed"), id="a hundredfold"),
        pytest.param(r"\boxed{NaN}", (0.0, "boxed"), id="no number"),
        pytest.param("42", (0.0, "unparsed"), id="no box"),
    ],
)
def test_scoring(text: str, expected: tuple[float, str]) -> None:
    assert judged(text) == expected


def test_thousands_separators_do_not_matter() -> None:
    assert judged(r"\boxed{1,234}", "1234") == (1.0, "boxed")


def test_text_answers_are_compared_as_text() -> None:
    assert judged(r"\boxed{\frac{1}{2}}", r"\frac{1}{2}") == (1.0, "boxed")
    assert judged(r"\boxed{NaN}", "NaN") == (1.0, "boxed")


def test_an_answer_cut_by_the_limit_is_truncated_even_if_a_box_is_there() -> None:
    assert judged(r"\boxed{42}", finish_reason="length") == (0.0, "truncated")


def test_a_sample_without_a_target_is_refused() -> None:
    generation = Generation(sample_id="a", epoch=0, text="", num_tokens=0, finish_reason="stop")
    with pytest.raises(QuantguardError, match="no target"):
        boxed.score(Sample(id="a", input="?"), generation)
