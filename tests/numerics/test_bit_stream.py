"""A dense bit stream holds every integer in its own bits, across words where they do not divide them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quantguard.numerics import bit_stream
from quantguard.numerics.bit_stream import num_words, pack_bits, unpack_bits


@given(num_bits=st.integers(1, 8), rows=st.integers(1, 4), columns=st.integers(1, 130), seed=st.integers(0, 2**31))
def test_what_is_packed_comes_back(num_bits: int, rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    half = 1 << (num_bits - 1)
    values = torch.randint(-half, half, (rows, columns), generator=generator).to(torch.int8)
    words = pack_bits(values, num_bits)
    assert words.shape == (rows, num_words(columns, num_bits))
    assert torch.equal(unpack_bits(words, num_bits, columns), values)


@pytest.mark.parametrize("num_bits", range(1, 9))
def test_element_i_starts_at_bit_i_times_the_bits(num_bits: int) -> None:
    half = 1 << (num_bits - 1)
    values = [(7 * i) % (2 * half) - half for i in range(45)]
    stream = sum((value + half) << (i * num_bits) for i, value in enumerate(values))
    words = [stream >> (32 * i) & 0xFFFFFFFF for i in range(num_words(45, num_bits))]
    packed = pack_bits(torch.tensor([values], dtype=torch.int8), num_bits)
    assert [word & 0xFFFFFFFF for word in packed[0].tolist()] == words


def test_dropping_the_part_in_the_next_byte_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    values = (torch.arange(64)[None] ** 2 % 7 - 3).to(torch.int8)
    words = pack_bits(values, 3)
    low_parts = bit_stream.unpack_unsigned

    def forgetful(words: torch.Tensor, num_bits: int) -> torch.Tensor:
        return low_parts(words & ~0x01010100, num_bits)  # the first bit of a byte ends what began in the one before

    monkeypatch.setattr(bit_stream, "unpack_unsigned", forgetful)
    assert not torch.equal(unpack_bits(words, 3, 64), values)
