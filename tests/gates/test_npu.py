"""Gates on an NPU, or on its emulation: what the whole path of the ascend backend costs a model."""

import pytest

import quantguard
from pytest_quantguard.fixtures import Guard


@pytest.mark.parametrize(
    "recipe", ["w8a8", "w4a8", "smoothquant-w8a8kv8", "smoothquant-w8a8kv8-static", "quarot-w8a8kv8"]
)
@quantguard.accuracy(tol=0.045)
def test_an_npu_keeps_the_accuracy_of_a_quantized_model(guard: Guard, npu_device: str, recipe: str) -> None:
    guard.check("tiny-reasoner", recipe=recipe, device=npu_device)
