"""What differs between two fingerprints, in words; and what those leave out who compare less."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from quantguard.records import Fingerprint, ModelIdentity, Question, Runtime, from_json, to_json
from tests.support.fingerprints import fingerprint_of, with_facts

FULL = Fingerprint(
    question=Question(data="d", prompt="p", tokens="t", stop_ids=(2,), decoding="g", scorer="s"),
    model=ModelIdentity(weights="w", recipe="r", calibration="c", config={"hidden_size": "64"}),
    runtime=Runtime(engine="e", dtype="bfloat16", batch_size=8, threads=2),
)
# A field that is added to a part is among these without a word.
FIELDS = [field.name for part in (Question, ModelIdentity, Runtime) for field in dataclasses.fields(part)]
OTHERS: dict[str, Any] = {"stop_ids": (2, 3), "config": {"hidden_size": "65"}, "batch_size": 9, "threads": 3}


def with_another(name: str) -> Fingerprint:
    return with_facts(FULL, **{name: OTHERS.get(name, "another")})


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_counts_and_is_named(name: str) -> None:
    [found] = FULL.differences(with_another(name))
    assert found.name.partition(".")[0] == name
    assert str(found).startswith(f"{found.name} was ")
    assert FULL.differences(FULL) == ()


@pytest.mark.parametrize(
    ("compared", "left_out"),
    [
        pytest.param(Fingerprint.of_answers, {"data", "scorer"}, id="answers"),
        pytest.param(
            lambda fingerprint: fingerprint.of_layers("text"),
            {field.name for field in dataclasses.fields(Question)} | {"engine", "batch_size"},
            id="layers",
        ),
        pytest.param(
            lambda fingerprint: dataclasses.replace(fingerprint, model=fingerprint.model.before_quantization()),
            {"recipe", "calibration"},
            id="before quantization",
        ),
    ],
)
def test_who_compares_less_leaves_out_what_is_listed_here_and_nothing_else(
    compared: Callable[[Fingerprint], Fingerprint], left_out: set[str]
) -> None:
    seen = {name for name in FIELDS if compared(FULL).differences(compared(with_another(name)))}
    assert set(FIELDS) - seen == left_out


def test_a_head_that_a_rotation_has_untied_is_what_quantization_changes() -> None:
    tied, untied = (fingerprint_of(config={"tie_word_embeddings": text}).model for text in ("true", "false"))
    assert tied.before_quantization() == untied.before_quantization()
    assert [difference.name for difference in tied.differences(untied)] == ["config.tie_word_embeddings"]


def test_what_one_of_the_two_lacks_is_absent_and_a_hash_is_cut() -> None:
    then, now = fingerprint_of(weights="a" * 64), fingerprint_of(tokens="1200 prompts, 53048 tokens, 43b3836c53b77ba1")
    assert [str(difference) for difference in then.differences(now)] == [
        "tokens was absent, is 1200 prompts, 53048 tokens, 43b3836c53b77ba1",
        "weights was aaaaaaaaaaaa…, is w",
    ]


def test_a_configuration_that_one_of_the_two_does_not_have_is_one_difference() -> None:
    none, small = fingerprint_of(), fingerprint_of(config={"hidden_size": "64", "rope_theta": "10000"})
    assert [str(difference) for difference in none.differences(small)] == ["config was absent, is recorded"]
    assert [str(difference) for difference in small.differences(none)] == ["config was recorded, is absent"]
    smaller = fingerprint_of(config={"hidden_size": "64"})
    assert [str(difference) for difference in smaller.differences(small)] == ["config.rope_theta was absent, is 10000"]


def test_it_comes_back_from_its_file_and_is_told_as_facts() -> None:
    assert from_json(Fingerprint, to_json(FULL)) == FULL
    assert FULL.facts() == {
        "batch_size": "8",
        "calibration": "c",
        "config.hidden_size": "64",
        "data": "d",
        "decoding": "g",
        "dtype": "bfloat16",
        "engine": "e",
        "prompt": "p",
        "recipe": "r",
        "scorer": "s",
        "stop_ids": "2",
        "threads": "2",
        "tokens": "t",
        "weights": "w",
    }
