"""Blocks of one run make one record; blocks of two make an error."""

import dataclasses

import pytest

from quantguard.errors import MeasurementError
from quantguard.gates.accuracy.sequential import join
from quantguard.records import RunRecord, Score
from tests.support.fingerprints import fingerprint_of


def block(*ids: str, **facts: str) -> RunRecord:
    scores = tuple(
        Score(sample_id=id_, epoch=0, value=1.0, answer="1", explanation="boxed", num_tokens=3, finish_reason="stop")
        for id_ in ids
    )
    return RunRecord(
        model="m",
        recipe=None,
        benchmark="capitals",
        platform="cpu",
        generation_config=None,
        scores=scores,
        kernels={},
        fingerprint=fingerprint_of(**{"tokens": "t"} | facts),
        recorded={},
        metrics={"accuracy": 1.0},
        notes=(),
    )


def test_blocks_are_joined_in_their_order() -> None:
    joined = join([block("a", "b"), dataclasses.replace(block("c"), metrics={"accuracy": 0.0})])
    assert [score.sample_id for score in joined.scores] == ["a", "b", "c"]
    assert joined.metrics["accuracy"] == pytest.approx(2 / 3)


def test_blocks_of_two_runs_are_an_error_that_names_what_differs() -> None:
    with pytest.raises(MeasurementError, match="differ in tokens"):
        join([block("a"), block("b", tokens="others")])


def test_an_item_in_two_blocks_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="the same item"):
        join([block("a"), block("a", "b")])
