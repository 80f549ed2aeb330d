"""Text from models and people, made safe to show: nothing in it may control the page, the terminal or the reader."""

import re

# Characters that are invisible, end a document or change the direction of the text behind them.
_UNSEEN = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0xAD,
    0x061C,
    0x200B,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    *range(0xFFF0, 0xFFFC),
    0xFFFE,
    0xFFFF,
)
_SHOWN = {code: f"⟨U+{code:04X}⟩" for code in _UNSEEN if chr(code) not in "\t\n"}
_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    """Spell out the invisible and direction-changing characters of a text, and lone surrogates."""
    if text.isascii() and text.isprintable():
        return text
    spelled = text.replace("\r\n", "\n").translate(_SHOWN)
    return _SURROGATE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", spelled)


def shorten(text: str, limit: int) -> str:
    """Cut a text to about ``limit`` characters: a third from its start, the rest from its end, where answers are."""
    if len(text) <= limit:
        return text
    head, tail = limit // 3, limit - limit // 3
    return f"{text[:head]}\n[… {len(text) - limit} characters left out; results.json has them …]\n{text[-tail:]}"


def in_one_line(text: str, limit: int = 60) -> str:
    """Put a text on one line, cut at ``limit`` characters."""
    flat = " ".join(visible(text).split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"
