"""Records survive JSON, and JSON that is no record is refused by name."""

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from quantguard.errors import RecordError
from quantguard.records import Generation, QuantArgs, Recipe, Score, from_json, to_json

SCORES = st.builds(
    Score,
    sample_id=st.text(min_size=1),
    epoch=st.integers(0, 9),
    value=st.none() | st.floats(0, 1),
    answer=st.none() | st.text(),
    explanation=st.text(),
    num_tokens=st.integers(0, 10**6),
    finish_reason=st.sampled_from(("stop", "length")),
)


@hypothesis.given(SCORES)
def test_a_score_survives_json(score: Score) -> None:
    assert from_json(Score, json.loads(json.dumps(to_json(score)))) == score


def test_a_recipe_with_nested_settings_survives_json() -> None:
    recipe = Recipe(
        name="r",
        weights=QuantArgs(num_bits=4, strategy="group", group_size=32),
        rounding="gptq",
        options={"gptq": {"damping": 0.1}},
    )
    assert from_json(Recipe, json.loads(json.dumps(to_json(recipe)))) == recipe


GENERATION = {"sample_id": "a", "epoch": 0, "text": "x", "num_tokens": 1, "finish_reason": "stop"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"num_token": 3}, "unknown key 'num_token'. Did you mean 'num_tokens'", id="unknown key"),
        pytest.param({"epoch": "0"}, "Generation.epoch: expected an integer", id="text for a number"),
        pytest.param({"epoch": True}, "Generation.epoch: expected an integer", id="truth for a number"),
        pytest.param({"text": None}, "Generation.text: expected text, found nothing", id="nothing for text"),
        pytest.param({"finish_reason": "eos"}, "'eos' is not one of 'stop', 'length'", id="unknown literal"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RecordError, match=complaint.replace(".", r"\.")):
        from_json(Generation, GENERATION | change)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(RecordError, match="missing epoch"):
        from_json(Generation, {key: value for key, value in GENERATION.items() if key != "epoch"})


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "infinity"])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    table = to_json(
        Score(sample_id="a", epoch=0, value=1.0, answer=None, explanation="", num_tokens=1, finish_reason="stop")
    )
    with pytest.raises(RecordError, match="not a finite number"):
        from_json(Score, table | {"value": value})


@hypothesis.given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_other_json_is_a_clear_error(value: Any) -> None:
    with pytest.raises(RecordError):
        from_json(Generation, value)
