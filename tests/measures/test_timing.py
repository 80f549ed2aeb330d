"""Two models are timed in turn, by a clock of the test's own: nothing here depends on how fast this machine is."""

import contextlib
import dataclasses
import gc
import types
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

import quantguard
from quantguard.errors import MeasurementError
from quantguard.gates import Session
from quantguard.gates.latency import BLOCK_BUDGETS, Gate, decide
from quantguard.measures import timing
from quantguard.modeling import LoadedModel
from quantguard.modeling.integer_cache import IntegerCacheLayer
from quantguard.records import TimedBlock, Verdict


@dataclasses.dataclass
class Machine:
    """A clock that runs only while a planted model works; ``slowness`` is a factor that depends on the time."""

    slowness: Callable[[float], float] = lambda _now: 1.0
    now: float = 0.0
    calls: str = ""

    def clock(self) -> float:
        return self.now

    def model(self, letter: str, seconds: float) -> LoadedModel:
        def call(**_inputs: Any) -> None:
            self.calls += letter
            self.now += seconds * self.slowness(self.now)

        call.device = torch.device("cpu")  # type: ignore[attr-defined]
        call.config = types.SimpleNamespace(vocab_size=100, max_position_embeddings=512)  # type: ignore[attr-defined]
        return cast(LoadedModel, types.SimpleNamespace(name=letter, model=call, device_type="cpu"))

    def gate(self, *, candidate_seconds: float, minimum: float) -> tuple[Verdict, tuple[TimedBlock, ...]]:
        """Gate a planted candidate beside a full precision that takes 10 ms."""
        models = self.model("A", 0.01), self.model("B", candidate_seconds)

        def measure(kind: str, *, gate: str, stage: str, num_tokens: int) -> Any:
            assert (kind, gate) == ("timing", "latency")
            return timing.stopwatch(*models, stage, num_tokens=num_tokens, clock=self.clock)

        return decide(Gate(min_speedup=minimum), cast(Session, types.SimpleNamespace(measure=measure)))


def test_blocks_are_a_b_b_a_after_both_are_warm() -> None:
    machine = Machine()
    with timing.stopwatch(
        machine.model("A", 0.01), machine.model("B", 0.02), "prefill", num_tokens=4, clock=machine.clock
    ) as time_blocks:
        warm = len(machine.calls)
        assert machine.calls == "AB" * 3
        blocks = time_blocks(3)
    assert machine.calls[warm:] == "ABBA" * 3
    assert blocks[2].candidate_seconds == pytest.approx((0.02, 0.02))
    assert blocks[2].log_repeat == pytest.approx(0)


def test_calls_that_are_too_short_to_be_timed_are_timed_together() -> None:
    machine = Machine()
    with timing.stopwatch(
        machine.model("A", 0.002), machine.model("B", 0.001), "prefill", num_tokens=4, clock=machine.clock
    ) as time_blocks:
        machine.calls = ""
        block = time_blocks(1)[0]
    assert machine.calls == "A" * 5 + "B" * 10 + "A" * 5
    assert block.reference_seconds == pytest.approx((0.002, 0.002))
    assert block.candidate_seconds == pytest.approx((0.001, 0.001))


@pytest.mark.parametrize(
    ("candidate_seconds", "outcome"), [(0.0115, "REGRESSED"), (0.01, "PASS")], ids=["15 % slower", "the same"]
)
def test_a_clear_run_ends_at_the_first_look(candidate_seconds: float, outcome: str) -> None:
    verdict, blocks = Machine().gate(candidate_seconds=candidate_seconds, minimum=0.95)
    assert verdict.outcome == outcome
    assert len(blocks) == BLOCK_BUDGETS[0]


@pytest.mark.parametrize("candidate_seconds", [0.005, 0.02], ids=["fast", "slow"])
def test_a_drifting_clock_is_unstable_when_the_whole_budget_is_spent(candidate_seconds: float) -> None:
    machine = Machine(slowness=lambda now: 1 + now)
    verdict, blocks = machine.gate(candidate_seconds=candidate_seconds, minimum=0.95)
    assert verdict.outcome == "UNSTABLE"
    assert "the machine's speed drifted" in verdict.reason
    assert len(blocks) == BLOCK_BUDGETS[-1]


def test_a_machine_that_comes_to_rest_is_believed() -> None:
    machine = Machine(slowness=lambda now: 3.0 if now < 0.5 else 1.0)
    verdict, blocks = machine.gate(candidate_seconds=0.005, minimum=0.95)
    assert verdict.outcome == "PASS"
    assert len(blocks) > BLOCK_BUDGETS[0] or blocks[0].reference_seconds[0] == pytest.approx(0.01)


def test_the_collector_of_cycles_rests_while_there_is_timing_and_no_longer() -> None:
    machine = Machine()
    models = machine.model("A", 0.01), machine.model("B", 0.01)
    with (
        contextlib.suppress(KeyboardInterrupt),
        timing.stopwatch(*models, "prefill", num_tokens=4, clock=machine.clock),
    ):
        assert not gc.isenabled()
        raise KeyboardInterrupt
    assert gc.isenabled()


def test_more_tokens_than_the_context_holds_are_refused() -> None:
    machine = Machine()
    models = machine.model("A", 0.01), machine.model("B", 0.01)
    with (
        pytest.raises(MeasurementError, match="num_tokens is 512; the context of B has room for 511"),
        timing.stopwatch(*models, "prefill", num_tokens=512),
    ):
        pass


def test_decode_stores_keys_and_values_as_the_candidate_does(monkeypatch: pytest.MonkeyPatch) -> None:
    model = quantguard.load("tiny-reasoner")
    candidate = quantguard.quantize(model, "smoothquant-w8a8kv8")
    stored: list[int] = []
    update = IntegerCacheLayer.update

    def counted(self: IntegerCacheLayer, keys: torch.Tensor, *rest: Any, **more: Any) -> Any:
        stored.append(keys.shape[-2])
        return update(self, keys, *rest, **more)

    monkeypatch.setattr(IntegerCacheLayer, "update", counted)
    ticks = iter(range(10**6))
    with timing.stopwatch(model, candidate, "decode", num_tokens=8, clock=lambda: float(next(ticks))) as time_blocks:
        num_layers = stored.count(8)
        before = len(stored)
        time_blocks(2)
    assert num_layers == candidate.model.config.num_hidden_layers
    assert stored[before:] == [1] * (2 * 2 * num_layers)
