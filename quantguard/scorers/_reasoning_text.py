"""The parts of a reasoning model's text: thinking, answer, and loops."""

import re

import numpy as np

# The marks that open and close the thinking part: those of DeepSeek-R1 and Qwen3, and those of openPangu-Embedded.
_MARKS = (("<think>", "</think>"), ("[unused16]", "[unused17]"))
# A word, a sign, or a character of a script without spaces.
_UNIT = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff]+|[\u3040-\u30ff\u3400-\u9fff]|[^\w\s]")
# A loop is a passage of at most 200 units that comes at least 4 times in a row, over at least 40 units.
_LONGEST_PASSAGE, _TIMES, _UNITS = 200, 4, 40


def after_thinking(text: str) -> str:
    """Return the text after the last thinking part; empty if a thinking part was opened and never closed."""
    for starts, ends in _MARKS:
        _, closed, rest = text.rpartition(ends)
        visible = rest if closed else text
        if starts in visible:
            return ""
        text = visible
    return text


def is_repeating(text: str) -> bool:
    """Tell whether a text runs in a loop: a passage of up to 200 words that comes four times or more in a row.

    If four times a short passage make fewer than 40 words, such as a row of zeros in a matrix, it has to come more
    often.
    """
    numbers: dict[str, int] = {}
    units = np.array([numbers.setdefault(unit, len(numbers)) for unit in _UNIT.findall(text)])
    # A passage of ``period`` units repeats wherever the text equals itself shifted by that many units.
    return any(
        _has_run(units[period:] == units[:-period], max((_TIMES - 1) * period, _UNITS - period))
        for period in range(1, min(_LONGEST_PASSAGE, len(units) // _TIMES) + 1)
    )


def _has_run(same: np.ndarray, length: int) -> bool:
    """Tell whether ``length`` true values stand in a row."""
    # Most texts have too few repeats in all, which is quick to see.
    if np.count_nonzero(same) < length:
        return False
    breaks = np.flatnonzero(~same)
    return int(np.diff(np.concatenate(([-1], breaks, [len(same)]))).max()) - 1 >= length
