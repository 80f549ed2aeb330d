"""Every part of a range is run once, on as many threads as torch has, and what goes wrong there is heard of."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numba import njit

from quantguard.kernels.cpu.compiled.parts import run_parts
from quantguard.numerics import torch_threads


@pytest.fixture(params=[1, 2, 5], ids="{} threads".format)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("total", [0, 1, 4, 63])
def test_a_range_is_covered_once_by_consecutive_parts(threads: int, total: int) -> None:
    seen: list[tuple[int, int]] = []
    torch_threads.over_range(total, lambda start, stop: seen.append((start, stop)))
    assert len(seen) == threads
    assert [index for part in sorted(seen) for index in range(*part)] == list(range(total))


def test_what_a_part_raises_is_raised(threads: int) -> None:
    def fail(start: int, stop: int) -> None:
        raise ValueError(f"{threads} threads, {start} to {stop}")

    with pytest.raises(ValueError, match="threads, "):
        torch_threads.over_range(10, fail)


@pytest.mark.skipif(not torch_threads.launcher(), reason="torch's threads are not GNU OpenMP's")
def test_the_threads_are_torchs_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        used: set[int] = set()
        meeting = threading.Barrier(2, timeout=30)

        def meet(_start: int, _stop: int) -> None:
            meeting.wait()
            used.add(threading.get_native_id())

        torch_threads.over_range(2, meet)
        first = set(used)
        # A product wide enough for two threads makes no more of them.
        torch.randn(512, 512) @ torch.randn(512, 512)
        torch_threads.over_range(2, meet)
    finally:
        torch.set_num_threads(before)
    assert len(first) == 2
    assert used == first


def test_without_such_threads_the_range_is_one_part(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(torch_threads, "launcher", lambda: 0)
    seen: list[tuple[int, int]] = []
    torch_threads.over_range(7, lambda start, stop: seen.append((start, stop)))
    assert threads
    assert seen == [(0, 7)]


@njit(nogil=True)
def count(calls: np.ndarray, start: int, stop: int) -> None:
    for index in range(start, stop):
        calls[index] += 1


@njit(nogil=True)
def count_in_parts(calls: np.ndarray, num_parts: int, launch: int) -> None:
    run_parts(count, (calls,), len(calls), num_parts, launch)  # type: ignore[call-arg]


@pytest.mark.skipif(not torch_threads.launcher(), reason="torch's threads are not GNU OpenMP's")
@pytest.mark.parametrize("total", [0, 1, 63])
def test_compiled_parts_cover_a_range_once(threads: int, total: int) -> None:
    calls = np.zeros(total, np.int64)
    count_in_parts(calls, threads, torch_threads.launcher())
    assert calls.tolist() == [1] * total
