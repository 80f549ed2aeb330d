"""Integers of 1 to 8 bits as a dense stream: element i of a row starts at bit ``i * num_bits``, little end first.

32 elements fill ``num_bits`` words; an element may lie in two words. Stored is ``q + 2^(b-1)``, which is not negative.
"""

import torch

_WORD = 32


def num_words(columns: int, num_bits: int) -> int:
    """Count the int32 words that a row of ``columns`` elements takes; the last may be in part unused."""
    return -(-columns * num_bits // _WORD)


def pack_bits(values: torch.Tensor, num_bits: int) -> torch.Tensor:
    """Pack int8 ``[rows, columns]``, within the signed range of ``num_bits``, to int32 ``[rows, num_words]``."""
    rows, columns = values.shape
    unsigned = values.to(torch.int32) + (1 << (num_bits - 1))
    groups = torch.nn.functional.pad(unsigned, (0, -columns % _WORD)).view(rows, -1, _WORD)
    words = torch.zeros(rows, groups.shape[1], num_bits, dtype=torch.int32)
    for i in range(_WORD):
        word, offset = divmod(i * num_bits, _WORD)
        words[..., word] |= groups[..., i] << offset
        if offset + num_bits > _WORD:
            words[..., word + 1] |= groups[..., i] >> (_WORD - offset)
    return words.view(rows, -1)[:, : num_words(columns, num_bits)].contiguous()


def unpack_bits(words: torch.Tensor, num_bits: int, columns: int) -> torch.Tensor:
    """Unpack int32 ``[rows, num_words]`` to int8 ``[rows, columns]``."""
    padded = torch.nn.functional.pad(words, (0, -words.shape[1] % num_bits))
    signed = unpack_unsigned(padded, num_bits).to(torch.int16) - (1 << (num_bits - 1))
    return signed[:, :columns].to(torch.int8)


def unpack_unsigned(words: torch.Tensor, num_bits: int) -> torch.Tensor:
    """Return what is stored: int32 ``[rows, words]`` to uint8 ``[rows, 32 * words / num_bits]``.

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
    owner = torch.arange(count) * num_bits // _WORD
    counts = torch.zeros(rows, num_words(count, num_bits), dtype=torch.int32)
    return counts.index_add_(1, owner, marked.to(torch.int32)) > 0


def repeated(value: int, num_bits: int, count: int) -> torch.Tensor:
    """Return int32 ``[words]`` that hold one value ``count`` times, a multiple of 32."""
    stream = sum(value << (num_bits * index) for index in range(_WORD))
    words = stream.to_bytes(num_bits * 4, "little")
    return torch.frombuffer(bytearray(words), dtype=torch.int32).repeat(count // _WORD)
