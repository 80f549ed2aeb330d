"""Rows that enter late, share what they begin with or take a used slot compute what they do by the padded way.

Answers alone would not tell: the model gives most of them with a token of the prompt wrong. Logits do.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

import quantguard
from quantguard import benchmarks
from quantguard.benchmarks import choose_subset
from quantguard.engines._prompting import Request
from quantguard.engines.transformers import continuous
from quantguard.engines.transformers import generation as engine
from quantguard.engines.transformers import padded as padded_batches
from quantguard.engines.transformers.decoding import Decoding, Row
from quantguard.modeling import LoadedModel
from quantguard.modeling.slots import SlotCache
from quantguard.records import GenerationConfig

LIMITED = GenerationConfig(max_new_tokens=40)
RECIPES = (None, "w8a8", "smoothquant-w8a8kv8", "smoothquant-w8a8kv8-static", "quarot-w8a8kv8", "w3a16")


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    torch.set_num_threads(1)
    return quantguard.load("tiny-reasoner")


def requests(count: int = 14) -> list[Request]:
    """Return items of unlike length, some of them twice."""
    samples = choose_subset(benchmarks.members["word-problems"].load(), count, seed=5)
    once = [Request(sample_id=sample.id, epoch=0, text=sample.input) for sample in samples]
    return once + [dataclasses.replace(request, epoch=1) for request in once[::3]]


def answers(
    loaded: LoadedModel, *, batch_size: int = 4, config: GenerationConfig = LIMITED
) -> dict[tuple[str, int], tuple[str, int, str]]:
    found: dict[tuple[str, int], tuple[str, int, str]] = {}

    def finished(one: Any) -> None:
        assert (one.sample_id, one.epoch) not in found
        found[one.sample_id, one.epoch] = one.text, one.num_tokens, one.finish_reason

    engine.generate(loaded, requests(), config, batch_size=batch_size, finished=finished)
    return found


def padded(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[Any, Any]:
    with monkeypatch.context() as patch:
        patch.setattr(engine, "takes_slots", lambda _: False)
        patch.setattr(continuous, "run", None)
        return answers(loaded, **options)


def best_logits(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], list[float]]:
    """Return the largest logit behind every token that was written."""
    found: dict[tuple[str, int], list[float]] = {}
    right = Decoding.extend

    def extend(self: Decoding, rows: Sequence[Row], logits: torch.Tensor) -> None:
        for row, best in zip(rows, logits.amax(dim=-1).tolist(), strict=True):
            found.setdefault((row.request.sample_id, row.request.epoch), []).append(best)
        right(self, rows, logits)

    with monkeypatch.context() as patch:
        patch.setattr(Decoding, "extend", extend)
        answers(loaded)
    return found


def differences(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return the requests that see other logits by slots than padded."""
    found = best_logits(loaded, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "takes_slots", lambda _: False)
        expected = best_logits(loaded, patch)
    return [key for key, values in expected.items() if found[key] != pytest.approx(values, abs=1e-3)]


def test_both_ways_compute_the_same_logits(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert differences(model, monkeypatch) == []


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_both_ways_answer_alike(model: LoadedModel, recipe: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = model if recipe is None else quantguard.quantize(model, recipe=recipe)
    expected = padded(loaded, monkeypatch)
    monkeypatch.setattr(padded_batches, "run", None)
    assert answers(loaded) == expected
    assert len(expected) == len(requests())


def test_sampled_rows_draw_for_themselves_either_way(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    hot = GenerationConfig(max_new_tokens=40, temperature=1.5, seed=3)
    found = answers(model, config=hot)
    assert found == padded(model, monkeypatch, config=hot)
    twice = [key for key, epoch in found if epoch]
    assert any(found[key, 0] != found[key, 1] for key in twice)


def test_a_model_that_takes_no_slots_is_padded(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(model)
    monkeypatch.setattr(model.model.config, "_attn_implementation", "eager")
    monkeypatch.setattr(continuous, "run", None)
    assert answers(model) == expected


@pytest.mark.parametrize(
    ("name", "loop"), [("continuous", continuous), ("padded", padded_batches)], ids=["slots", "padding"]
)
def test_the_record_says_which_loop_answered(
    name: str, loop: Any, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    run = loop.run
    monkeypatch.setattr(engine, "takes_slots", lambda _: name == "continuous")

    def seen(*args: Any, **more: Any) -> None:
        ran.append(name)
        run(*args, **more)

    monkeypatch.setattr(loop, "run", seen)
    record = quantguard.evaluate(model, subset=1, max_new_tokens=4)
    assert ran == [name]
    assert record.recorded["generation_loop"] == name


def test_long_prompts_are_read_in_parts(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(model)
    monkeypatch.setattr(continuous, "_PREFILL_TOKENS", 7)
    assert answers(model) == expected


def test_fewer_rows_run_where_memory_is_short(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    # 4 layers of 2 heads of 64 channels, keys and values in float32: 4096 bytes a token.
    assert continuous.affordable_slots(model, 512) == (4 << 30) // (4096 * 512)
    monkeypatch.setattr(continuous, "_CACHE_BYTES", 0)
    weights = sum(p.numel() * 4 for p in model.model.parameters())
    assert continuous.affordable_slots(model, 100) == weights // (4096 * 100)
    assert continuous.affordable_slots(model, 1 << 20) == 1


def test_what_all_prompts_begin_with_leaves_each_its_last_token() -> None:
    assert continuous.shared_length([[1, 2, 3, 4], [1, 2, 5, 4], [1, 2, 3]]) == 2
    assert continuous.shared_length([[1, 2, 3], [1, 2, 3]]) == 2
    assert continuous.shared_length([[1, 2, 3], [1, 2, 3, 4]]) == 2
    assert continuous.shared_length([[7], [7, 8]]) == 0
    assert continuous.shared_length([[1, 2, 3]]) == 0


def _see_former_occupants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot is used again, and what it held is not hidden."""

    def unmasked(positions: torch.Tensor, num_visible: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.zeros(len(positions), num_visible, dtype=dtype)

    in_step = continuous._Batch.step

    def step(self: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(continuous, "_mask", unmasked)
            return in_step(self)

    monkeypatch.setattr(continuous._Batch, "step", step)


def _count_from_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that enters late is taken to stand one token further than it does."""
    start = Row.position.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Row, "position", property(lambda row: start(row) + (row.request.epoch == 1)))


def _share_a_token_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    right = continuous.shared_length
    monkeypatch.setattr(continuous, "shared_length", lambda prompts: right(prompts) + 1)


def _move_a_token_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    right = continuous._Batch._copy
    monkeypatch.setattr(
        continuous._Batch, "_copy", lambda self, source, target, count: right(self, source, target, count - 1)
    )


def _move_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot goes to another row, whose keys and values stay where they were."""
    monkeypatch.setattr(SlotCache, "copy", lambda *_: None)


@pytest.mark.parametrize(
    "fault",
    [_see_former_occupants, _count_from_the_batch, _share_a_token_too_many, _move_a_token_too_few, _move_nothing],
    ids=["slot not cleared", "wrong position", "prefix too long", "moved too little", "not moved"],
)
def test_the_comparison_catches(
    model: LoadedModel, fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    assert differences(model, monkeypatch) != []
