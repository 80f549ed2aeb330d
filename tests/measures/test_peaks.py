"""The peak of memory is what torch hands out on top of the weights, to the byte, and nothing where nobody counts it."""

import dataclasses
import os
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import quantguard
from quantguard.errors import MeasurementError
from quantguard.kernels.ascend import device
from quantguard.measures import peaks
from quantguard.measures.peaks import Peak
from quantguard.modeling import LoadedModel
from quantguard.modeling.swapping import weight_bytes

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return quantguard.load("tiny-reasoner")


def peak_of(model: LoadedModel, num_tokens: int = 64, num_new_tokens: int = 4) -> Peak:
    return peaks.peak_bytes(model, num_tokens=num_tokens, num_new_tokens=num_new_tokens)


def test_the_same_run_has_the_same_peak_and_nothing_is_printed(
    model: LoadedModel, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KINETO_LOG_LEVEL", raising=False)
    first, second = peak_of(model), peak_of(model)
    assert first == second
    assert first.bytes > weight_bytes(model.model)
    assert "USDT" not in "".join(capfd.readouterr())
    assert "KINETO_LOG_LEVEL" not in os.environ


def test_a_longer_prompt_takes_more(model: LoadedModel) -> None:
    assert peak_of(model, num_tokens=128).prefill > peak_of(model, num_tokens=64).prefill


def test_what_is_written_stays_in_the_cache(model: LoadedModel) -> None:
    assert peak_of(model, num_tokens=1, num_new_tokens=40).decode > peak_of(model, num_tokens=1).decode


@pytest.fixture
def allocating(model: LoadedModel) -> Iterator[Callable[[int, bool], None]]:
    """Let the model allocate a megabyte at each call for so many tokens, for good or just while it is called."""
    kept: list[torch.Tensor] = []
    handles = []

    def plant(num_tokens: int, keep: bool) -> None:  # noqa: FBT001 - a planted fault
        def hook(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
            if kwargs["input_ids"].shape[1] == num_tokens:
                kept.append(torch.empty(MEGABYTE, dtype=torch.uint8))
                if not keep:
                    kept.clear()

        handles.append(model.model.register_forward_pre_hook(hook, with_kwargs=True))

    yield plant
    for handle in handles:
        handle.remove()


def test_memory_that_is_kept_is_counted_to_the_byte(
    model: LoadedModel, allocating: Callable[[int, bool], None]
) -> None:
    before = peak_of(model)
    allocating(64, True)
    assert peak_of(model).prefill == before.prefill + MEGABYTE
    assert peak_of(model).decode == before.decode + MEGABYTE


def test_memory_that_is_given_back_before_the_peak_is_not_counted(
    model: LoadedModel, allocating: Callable[[int, bool], None]
) -> None:
    before = peak_of(model, num_tokens=256)
    allocating(256, False)
    assert peak_of(model, num_tokens=256) == before


def test_a_leak_at_every_step_is_in_the_peak_of_writing(
    model: LoadedModel, allocating: Callable[[int, bool], None]
) -> None:
    before = peak_of(model)
    allocating(1, True)
    after = peak_of(model)
    assert after.prefill == before.prefill
    assert after.decode == before.decode + 4 * MEGABYTE


def test_an_npu_is_asked_for_its_own_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"now": 500, "most": 10**9}

    def reset(_name: str) -> None:
        state["most"] = state["now"]

    npu = types.SimpleNamespace(
        synchronize=lambda _name: None,
        reset_peak_memory_stats=reset,
        memory_allocated=lambda _name: state["now"],
        max_memory_allocated=lambda _name: state["most"],
    )

    def allocate(most: int, left: int) -> Callable[[], None]:
        return lambda: state.update(most=max(state["most"], state["now"] + most), now=state["now"] + left)

    monkeypatch.setattr(torch, "npu", npu, raising=False)
    assert device.peaks("npu:0", [allocate(300, 100), allocate(50, 0)]) == [300, 150]


def test_a_device_whose_memory_nobody_counts_is_named(model: LoadedModel) -> None:
    elsewhere = dataclasses.replace(
        model, model=types.SimpleNamespace(device=torch.device("meta"), config=model.model.config)
    )
    with pytest.raises(MeasurementError, match="is measured on cpu and npu; tiny-reasoner is on 'meta'"):
        peak_of(elsewhere)


def test_more_tokens_than_the_context_holds_are_refused(model: LoadedModel) -> None:
    with pytest.raises(MeasurementError, match="has room for"):
        peak_of(model, num_tokens=10**6)
