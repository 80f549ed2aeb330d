"""Integers of 1 to 8 bits as a dense stream: element i of a row starts at bit ``i * num_bits``, little end first.

32 elements fill ``num_bits`` words; an element may lie in two words. Stored is ``q + 2^(b-1)``, which is not negative.
"""

import torch

_WORD = 32


def num_words(columns: int, num_bits: int) -> int:
    """Count the int32 words that a row of ``columns`` elements takes."""
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
    rows, half = len(words), 1 << (num_bits - 1)
    padded = torch.nn.functional.pad(words, (0, -words.shape[1] % num_bits)).view(rows, -1, num_bits)
    values = torch.empty(rows, padded.shape[1], _WORD, dtype=torch.int8)
    for i in range(_WORD):
        word, offset = divmod(i * num_bits, _WORD)
        bits = padded[..., word] >> offset
        if offset + num_bits > _WORD:
            # The shift above has copied the sign into the place of what is in the next word.
            bits = bits & ((1 << (_WORD - offset)) - 1) | padded[..., word + 1] << (_WORD - offset)
        values[..., i] = (bits & ((1 << num_bits) - 1)) - half
    return values.view(rows, -1)[:, :columns].contiguous()
