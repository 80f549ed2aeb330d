"""What is told of runs that are too good or too much alike, and how seldom it is told by chance."""

import random
from collections.abc import Sequence

import pytest

from quantguard.records import Score
from quantguard.verdict import note_on_equal_answers, note_on_gain
from quantguard.verdict.notes import GAIN_LEVEL, MANY_ANSWERS


def scores(values: Sequence[float | None], *, epoch: int = 0) -> list[Score]:
    return [
        Score(
            sample_id=f"item-{index}",
            epoch=epoch,
            value=value,
            answer=str(value),
            explanation="boxed",
            num_tokens=index,
            finish_reason="stop",
        )
        for index, value in enumerate(values)
    ]


def test_twelve_gained_and_none_lost_is_told_with_its_p_value() -> None:
    note = note_on_gain(scores([1.0] * 300), scores([0.0] * 12 + [1.0] * 288), named="full precision")
    assert note is not None
    assert note.startswith(
        "12 gained and 0 lost of 300 items: better than full precision beyond chance (sign test, p ="
    )
    assert "0.00024), every answer right" in note


@pytest.mark.parametrize(
    ("gained", "lost"),
    [
        pytest.param(0, 0, id="no flips"),
        pytest.param(9, 0, id="nine that luck explains"),
        pytest.param(20, 10, id="many flips both ways"),
        pytest.param(0, 40, id="a loss"),
    ],
)
def test_what_chance_explains_is_not_told(gained: int, lost: int) -> None:
    before = [0.0] * gained + [1.0] * lost + [1.0] * 100
    after = [1.0] * gained + [0.0] * lost + [1.0] * 100
    assert note_on_gain(scores(after), scores(before), named="full precision") is None


def test_runs_that_flip_by_chance_are_told_of_as_seldom_as_is_said() -> None:
    rng = random.Random(0)
    told = 0
    for _ in range(2000):
        before = [float(rng.random() < 0.6) for _ in range(200)]
        after = [1 - value if rng.random() < 0.2 else value for value in before]
        # Half of the flips go each way only where as many are right as are wrong.
        fair = [
            float(rng.random() < 0.5) if mine != theirs else mine for mine, theirs in zip(before, after, strict=True)
        ]
        told += note_on_gain(scores(after), scores(fair), named="x") is not None
    assert told <= 2000 * GAIN_LEVEL * 4


def test_epochs_of_an_item_are_one_item_and_items_of_a_cluster_one_cluster() -> None:
    before = [*scores([0.0] * 5), *scores([0.0] * 5, epoch=1), *scores([0.0] * 5, epoch=2)]
    after = [*scores([1.0] * 5), *scores([1.0] * 5, epoch=1), *scores([1.0] * 5, epoch=2)]
    assert note_on_gain(after, before, named="x") is None
    clusters = {f"item-{index}": str(index % 3) for index in range(30)}
    assert note_on_gain(scores([1.0] * 30), scores([0.0] * 30), named="x") is not None
    assert note_on_gain(scores([1.0] * 30), scores([0.0] * 30), named="x", clusters=clusters) is None


def test_answers_without_a_value_are_left_out() -> None:
    assert note_on_gain(scores([None] * 30), scores([0.0] * 30), named="x") is None
    assert note_on_gain(scores([1.0] * 30), scores([None] * 30), named="x") is None


def test_a_model_that_answers_as_full_precision_in_every_token_is_told_where_the_answers_are_many() -> None:
    many = scores([1.0] * MANY_ANSWERS)
    note = note_on_equal_answers(many, many)
    assert note is not None
    assert f"all {MANY_ANSWERS} answers" in note
    assert note_on_equal_answers(many[:-1], many) is None
    other = scores([1.0] * (MANY_ANSWERS - 1) + [0.0])
    assert note_on_equal_answers(other, many) is None
