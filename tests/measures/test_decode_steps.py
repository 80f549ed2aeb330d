"""Writing token by token beside reading at once: the same where nothing is wrong, and not with another cache."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

import quantguard
from quantguard.engines import transformers as engine
from quantguard.errors import MeasurementError
from quantguard.measures._decode_steps import (
    FAR,
    FEW,
    NUM_ROWS,
    NUM_STEPS,
    SINGLE,
    batches,
    compare_ways,
    read,
    written,
)
from quantguard.measures.layers import trace
from quantguard.modeling import LoadedModel, integer_cache, slots
from quantguard.modeling.slots import SlotLayer, Window
from quantguard.recipes import load_recipe
from quantguard.verdict import judge_decode_gap

TEXTS = [[(7 * index + 3 * place) % 500 + 20 for place in range(60 + 5 * index)] for index in range(10)]
STARTS = [30] * 10
REACH = 400


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    torch.set_num_threads(1)
    return quantguard.load("tiny-reasoner")


@pytest.fixture(scope="module")
def quantized(model: LoadedModel) -> LoadedModel:
    """8-bit weights, activations and cache, without anything to calibrate."""
    cache = load_recipe("smoothquant-w8a8kv8").kv_cache
    return quantguard.quantize(model, dataclasses.replace(load_recipe("w8a8"), name="w8a8kv8", kv_cache=cache))


def compare(candidate: LoadedModel, reference: LoadedModel) -> dict[str, float]:
    return compare_ways(candidate, reference, batches(TEXTS, STARTS, reach=REACH))


def test_texts_are_written_alone_a_few_at_a_time_and_at_a_far_position() -> None:
    alone, few, far = batches(TEXTS, STARTS, reach=REACH)
    assert [batch.name for batch in (alone, few, far)] == [SINGLE, FEW, FAR]
    assert alone.lines == few.lines[:1]
    assert len(few.lines) == NUM_ROWS
    assert len({len(line.written) for line in few.lines}) == NUM_ROWS
    assert [line.prompt + line.written for line in few.lines] == TEXTS[:NUM_ROWS]
    [line] = far.lines
    assert len(line.prompt) + len(line.written) == REACH
    assert len(line.written) == NUM_STEPS


@pytest.mark.parametrize(
    ("lengths", "start", "num_written"),
    [
        pytest.param([2], 1, [1], id="a single token to write"),
        pytest.param([31, 30, 33], 30, [1, 3], id="an answer of nothing is left out"),
    ],
)
def test_no_token_of_a_prompt_is_written(lengths: list[int], start: int, num_written: list[int]) -> None:
    few = batches([[5] * length for length in lengths], [start] * len(lengths), reach=40)[1]
    assert [len(line.written) for line in few.lines] == num_written


def test_nothing_to_write_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="no text to decode"):
        batches([[5] * 30], [30], reach=40)


def test_full_precision_writes_by_what_it_reads(model: LoadedModel) -> None:
    found = compare(model, model)
    assert found["reading_gap"] == 0
    assert found["reference_decode_gap"] < 1e-5
    assert judge_decode_gap(found, dtype="float32").outcome == "PASS"


def test_a_quantized_model_writes_by_what_it_reads(quantized: LoadedModel, model: LoadedModel) -> None:
    found = compare(quantized, model)
    assert found["decode_gap"] < 0.1 * found["reading_gap"]
    assert judge_decode_gap(found, dtype="float32").outcome == "PASS"


def floats(patch: pytest.MonkeyPatch) -> None:
    def store(_self: SlotLayer, keys: torch.Tensor, values: torch.Tensor) -> Any:
        return {"data": keys}, {"data": values}

    patch.setattr(SlotLayer, "_store", store)
    patch.setattr(SlotLayer, "_restore", lambda _self, stored, _index, _dtype: stored["data"])


def six_bits(patch: pytest.MonkeyPatch) -> None:
    stored_by = integer_cache.kv_store

    def coarser(attention: Any) -> Any:
        store = stored_by(attention)
        if store is None:
            return None
        keys, values = (dataclasses.replace(q, args=dataclasses.replace(q.args, num_bits=6)) for q in store.quantizers)
        return dataclasses.replace(store, quantizers=(keys, values))

    patch.setattr(slots, "kv_store", coarser)


def modulo_200(patch: pytest.MonkeyPatch) -> None:
    write = slots._write

    def wrapped(buffer: torch.Tensor, new: torch.Tensor, window: Window) -> None:
        if not isinstance(window.positions, int):
            window = dataclasses.replace(window, positions=window.positions % 200)
        write(buffer, new, window)

    patch.setattr(slots, "_write", wrapped)


def float_values(patch: pytest.MonkeyPatch) -> None:
    store, restore = SlotLayer._store, SlotLayer._restore

    def half(self: SlotLayer, keys: torch.Tensor, values: torch.Tensor) -> Any:
        return store(self, keys, values)[0], {"data": values}

    def as_it_is(self: SlotLayer, stored: dict[str, torch.Tensor], index: int, dtype: torch.dtype) -> torch.Tensor:
        return stored["data"] if index == 1 else restore(self, stored, index, dtype)

    patch.setattr(SlotLayer, "_store", half)
    patch.setattr(SlotLayer, "_restore", as_it_is)


def answers_of_another(patch: pytest.MonkeyPatch) -> None:
    generate = engine.generate
    patch.setattr(
        engine, "generate", lambda loaded, *args, **more: generate(loaded.full_precision or loaded, *args, **more)
    )


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        pytest.param(floats, "REGRESSED", id="a cache that is not quantized"),
        pytest.param(six_bits, "REGRESSED", id="a cache of 6 bits"),
        pytest.param(float_values, "REGRESSED", id="values that are not quantized"),
        pytest.param(answers_of_another, "REGRESSED", id="answers of full precision"),
        pytest.param(modulo_200, "ERROR", id="positions modulo 200, of both models"),
    ],
)
def test_a_planted_fault_of_the_cache_is_seen(
    fault: Callable[[pytest.MonkeyPatch], None],
    outcome: str,
    quantized: LoadedModel,
    model: LoadedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault(monkeypatch)
    assert judge_decode_gap(compare(quantized, model), dtype="float32").outcome == outcome


def test_a_decoder_without_slots_writes_by_what_it_reads_too(
    quantized: LoadedModel, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "takes_slots", lambda _model: False)
    assert judge_decode_gap(compare(quantized, model), dtype="float32").outcome == "PASS"


def test_what_is_written_is_what_is_read_row_by_row_though_rows_leave(model: LoadedModel) -> None:
    _, few, _ = batches(TEXTS, STARTS, reach=REACH)
    assert torch.allclose(written(model, few), read(model, few), atol=1e-3)


def test_the_trace_of_layers_has_decode_steps_of_every_kind(model: LoadedModel) -> None:
    found = trace(model, TEXTS[9]).outputs
    kinds = ["", ", decode of 1 row", ", decode of 3 rows"]
    names = [name for name in found if "," not in name]
    far = [f"{name}, decode of 1 row at position 512" for name in names if name.count(".") != 4]
    assert list(found) == [*(name + kind for kind in kinds for name in names), *far]
    assert len(far) == 5
    assert len(found["lm_head, decode of 1 row"]) == NUM_STEPS
    assert len(found["lm_head, decode of 3 rows"]) == 3 * NUM_STEPS - 3
