"""Integers in int32 words, a dense stream of bits from the lowest bit of the first word on."""

import torch

_WORD_BITS = 32


def num_words(count: int, num_bits: int) -> int:
    """Return how many words ``count`` integers take; the last one may be in part unused."""
    return -(-count * num_bits // _WORD_BITS)


def unpack(words: torch.Tensor, num_bits: int) -> torch.Tensor:
    """Return the unsigned integers of each row: int32 ``[rows, words]`` to uint8 ``[rows, 32 * words / num_bits]``.

    ``words`` must hold whole integers: a multiple of ``num_bits`` words where that does not divide 32.
    """
    # Eight integers take num_bits bytes, whatever the words are; the lowest byte of a word comes first.
    eight = words.contiguous().view(torch.uint8).unflatten(1, (-1, num_bits))
    values = torch.empty(*eight.shape[:2], 8, dtype=torch.uint8)
    for index in range(8):
        byte, shift = divmod(index * num_bits, 8)
        value = eight[..., byte] >> shift
        if shift + num_bits > 8:
            value |= eight[..., byte + 1] << (8 - shift)
        values[..., index] = value & (2**num_bits - 1)
    return values.flatten(1)


def mark_words(marked: torch.Tensor, num_bits: int) -> torch.Tensor:
    """Return which words hold the start of a marked integer: bool ``[rows, count]`` to bool ``[rows, words]``."""
    rows, count = marked.shape
    owner = torch.arange(count) * num_bits // _WORD_BITS
    counts = torch.zeros(rows, num_words(count, num_bits), dtype=torch.int32)
    return counts.index_add_(1, owner, marked.to(torch.int32)) > 0


def repeated(value: int, num_bits: int, count: int) -> torch.Tensor:
    """Return int32 ``[words]`` that hold one value ``count`` times, a multiple of 32."""
    stream = sum(value << (num_bits * index) for index in range(_WORD_BITS))
    words = stream.to_bytes(num_bits * 4, "little")
    return torch.frombuffer(bytearray(words), dtype=torch.int32).repeat(count // _WORD_BITS)
