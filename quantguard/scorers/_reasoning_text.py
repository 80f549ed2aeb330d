"""What a reasoning model's text is made of: thinking, answer, and passages that repeat themselves."""

import re

import numpy as np

# What opens and closes the thinking part, of DeepSeek-R1 and Qwen3, and of openPangu-Embedded.
_MARKS = (("<think>", "</think>"), ("[unused16]", "[unused17]"))
# A word, a sign, or a character of a script without spaces.
_UNIT = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff]+|[\u3040-\u30ff\u3400-\u9fff]|[^\w\s]")
# A loop is a passage of up to so many units that follows upon itself at least so often, over so many units.
_LONGEST_PASSAGE, _TIMES, _UNITS = 200, 4, 40


def after_thinking(text: str) -> str:
    """Return what follows the last thinking part; nothing where one was opened and never closed."""
    for starts, ends in _MARKS:
        _, closed, rest = text.rpartition(ends)
        visible = rest if closed else text
        if starts in visible:
            return ""
        text = visible
    return text


def is_repeating(text: str) -> bool:
    """Tell whether a text runs in a loop: a passage of up to 200 words that comes four times or more in a row.

    Four times is not enough of a passage so short that they make no 40 words, such as a row of zeros in a matrix.
    """
    numbers: dict[str, int] = {}
    units = np.array([numbers.setdefault(unit, len(numbers)) for unit in _UNIT.findall(text)])
    return any(
        _has_run(units[period:] == units[:-period], max((_TIMES - 1) * period, _UNITS - period))
        for period in range(1, min(_LONGEST_PASSAGE, len(units) // _TIMES) + 1)
    )


def _has_run(same: np.ndarray, length: int) -> bool:
    """Tell whether there is a stretch of so many true values; mostly there are too few of them in all."""
    if np.count_nonzero(same) < length:
        return False
    breaks = np.flatnonzero(~same)
    return int(np.diff(np.concatenate(([-1], breaks, [len(same)]))).max()) - 1 >= length
