"""The gates of the embedded model: what a project's own release gates look like."""

import quantguard
from pytest_quantguard.fixtures import Guard


@quantguard.accuracy(tol=0.045)
@quantguard.memory(max_ratio=0.6)
def test_w8a8_keeps_its_accuracy_and_saves_memory(guard: Guard) -> None:
    guard.check("tiny-reasoner", recipe="w8a8")


@quantguard.accuracy(tol=0.045)
def test_smoothquant_w8a8_keeps_its_accuracy(guard: Guard) -> None:
    guard.check("tiny-reasoner", recipe="smoothquant-w8a8")


@quantguard.accuracy(tol=0.045)
@quantguard.memory(max_ratio=0.45)
def test_gptq_w4a16_keeps_its_accuracy(guard: Guard) -> None:
    guard.check("tiny-reasoner", recipe="gptq-w4a16")


@quantguard.latency(stage="prefill", min_speedup=0.6)
def test_w8a8_prefill_is_not_pathologically_slow(guard: Guard) -> None:
    guard.check("tiny-reasoner", recipe="w8a8")
