"""The E8P codebook: its size, its lattice and the exactness of its search."""

import itertools

import numpy as np
import pytest

from quantguard.numerics import e8p


def every_code() -> e8p.Array:
    """List all 2^16 codes: patterns, signs with the right parity, both shifts."""
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=8)))
    signed = (e8p.patterns()[:, None] * signs[None]).reshape(-1, 8)
    lattice = signed[signed.sum(axis=1) % 2 == 0]
    return np.concatenate((lattice - 0.25, lattice + 0.25))


def test_there_are_sixteen_bits_of_codes_and_none_repeats() -> None:
    codes = every_code()
    assert len(codes) == 2**16
    assert len(np.unique(codes, axis=0)) == 2**16


def test_227_patterns_are_within_norm_10_and_29_have_norm_12() -> None:
    norms = (e8p.patterns() ** 2).sum(axis=1)
    assert (norms <= 10).sum() == 227
    assert (norms == 12).sum() == 29


def test_the_one_bit_book_is_the_240_roots_with_zero_and_15_longer_points() -> None:
    norms = (e8p.one_bit_points() ** 2).sum(axis=1)
    assert [(norms == norm).sum() for norm in (0, 2, 4)] == [1, 240, 15]


def test_the_search_finds_the_nearest_of_all_codes() -> None:
    values = np.random.default_rng(0).normal(size=(50, 8)) * e8p.TARGET_RMS
    found = e8p.quantize_vectors(values, 2)
    codes = every_code()
    for value, code in zip(values, found, strict=True):
        nearest = ((codes - value) ** 2).sum(axis=1).min()
        assert ((code - value) ** 2).sum() == pytest.approx(nearest)


def test_every_code_is_its_own_nearest() -> None:
    codes = every_code()[::97]
    assert np.array_equal(e8p.quantize_vectors(codes, 2), codes)


def test_residual_bits_shrink_the_error() -> None:
    values = np.random.default_rng(1).normal(size=(2000, 8)) * e8p.TARGET_RMS
    errors = [float(((e8p.quantize_vectors(values, bits) - values) ** 2).mean()) for bits in (2, 3, 4)]
    assert errors[0] > 2.5 * errors[1] > 6 * errors[2]
    # A Gaussian source at 2 bits: the scalar bound is .1175 of the variance, the book's is about .089.
    assert errors[0] / e8p.TARGET_RMS**2 < 0.1


def test_another_number_of_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="2, 3 or 4 bits, not 5"):
        e8p.quantize_vectors(np.zeros((1, 8)), 5)
