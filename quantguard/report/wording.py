"""What models and people wrote, made fit to be shown: nothing in it may steer the page, the terminal or the reader."""

import re

# Characters that cannot be seen, end a document or turn the direction of what follows them.
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
    """Return the text with invisible and direction-turning characters spelled out, and halves of characters too."""
    if text.isascii() and text.isprintable():
        return text
    spelled = text.replace("\r\n", "\n").translate(_SHOWN)
    return _SURROGATE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", spelled)


def shorten(text: str, limit: int) -> str:
    """Return about ``limit`` characters: a third from the beginning, the rest from the end, where answers are."""
    if len(text) <= limit:
        return text
    head, tail = limit // 3, limit - limit // 3
    return f"{text[:head]}\n[… {len(text) - limit} characters left out; results.json has them …]\n{text[-tail:]}"


def in_one_line(text: str, limit: int = 60) -> str:
    """Return the text without line breaks, cut at ``limit`` characters."""
    flat = " ".join(visible(text).split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"
