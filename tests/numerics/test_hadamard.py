"""Hadamard matrices of the orders that decoders have."""

import pytest
import torch

from quantguard.errors import RecipeError
from quantguard.numerics import hadamard

# Hidden, intermediate and head sizes of the R1 distills, QwQ, openPangu, Qwen3, SmolLM2 and tiny-reasoner.
ORDERS = (1, 2, 12, 48, 64, 128, 256, 512, 576, 1536, 3584, 4096, 5120, 6144)
WIDE_ORDERS = (8960, 12800, 13824, 18944, 27648)


@pytest.mark.parametrize("order", ORDERS)
def test_rows_are_orthogonal_and_entries_are_plus_or_minus_one(order: int) -> None:
    matrix = hadamard.hadamard_matrix(order)
    assert torch.equal(matrix.abs(), torch.ones(order, order, dtype=torch.float64))
    sample = matrix[:: max(1, order // 64)]
    expected = torch.zeros(len(sample), len(sample), dtype=torch.float64).fill_diagonal_(order)
    assert torch.equal(sample @ sample.t(), expected)


@pytest.mark.parametrize("order", [*ORDERS, *WIDE_ORDERS])
def test_the_factors_are_orthogonal_and_multiply_to_the_order(order: int) -> None:
    left, right = hadamard.hadamard_factors(order)
    assert len(left) * len(right) == order
    for factor in (left, right):
        torch.testing.assert_close(factor @ factor.t(), torch.eye(len(factor), dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.allclose(left.abs() * len(left) ** 0.5, torch.ones_like(left))


@pytest.mark.parametrize("order", [3, 63, 123, 6, 92])
def test_an_order_out_of_reach_is_refused_by_number(order: int) -> None:
    with pytest.raises(RecipeError, match=rf"order {order} .*block_size"):
        hadamard.hadamard_matrix(order)


@pytest.mark.parametrize("order", [63, 64])
def test_a_random_orthogonal_matrix_is_orthogonal_and_follows_its_seed(order: int) -> None:
    matrix = hadamard.random_orthogonal(order, seed=3)
    torch.testing.assert_close(matrix @ matrix.t(), torch.eye(order, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.equal(matrix, hadamard.random_orthogonal(order, seed=3))
    assert not torch.equal(matrix, hadamard.random_orthogonal(order, seed=4))


def test_the_paley_core_is_the_smallest_that_fits() -> None:
    assert [len(hadamard.hadamard_factors(order)[0]) for order in (18944, 12800)] == [148, 200]
