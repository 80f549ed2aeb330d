"""A gate that is red on purpose: careless 3-bit weights, judged against full precision."""

import quantguard
from pytest_quantguard.fixtures import Guard


@quantguard.accuracy(tol=0.045, against="reference")
def test_three_bit_weights(guard: Guard) -> None:
    guard.check("tiny-reasoner", recipe="w3a16")
