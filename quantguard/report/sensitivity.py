"""Sensitivities as a table for the terminal and as a picture."""

import html
from collections.abc import Sequence
from typing import Protocol

_BAR = 24
_ROW_HEIGHT = 14


class Sensitivity(Protocol):
    """What is shown of a decoder layer or a linear."""

    @property
    def name(self) -> str:
        """Its full name."""

    @property
    def kl(self) -> float:
        """The divergence that it causes alone, nats."""

    @property
    def share(self) -> float:
        """Its part of the sum, 0..1."""

    @property
    def relative_error(self) -> float:
        """The error of its own output."""


def table(parts: Sequence[Sensitivity], *, kind: str, count: int) -> list[str]:
    """Return the ``count`` most sensitive parts, worst first, with a bar for the share of the damage."""
    worst = sorted(parts, key=lambda part: -part.kl)[:count]
    width = max(len(kind), *(len(part.name) for part in worst))
    lines = [f"{kind:<{width}}  {'KL alone':>9}  {'error':>8}  share of all"]
    for part in worst:
        bar = "#" * round(_BAR * part.share / worst[0].share)
        lines.append(f"{part.name:<{width}}  {part.kl:9.2e}  {part.relative_error:8.2e}  {part.share:6.1%} {bar}")
    if len(parts) > count:
        rest = sum(part.share for part in parts) - sum(part.share for part in worst)
        lines.append(f"{len(parts) - count} more of them have {rest:.1%} between them")
    return lines


def svg(charts: Sequence[Sequence[Sensitivity]], *, title: str) -> str:
    """Return bar charts of all parts in the order in which they run, one below the other, as a self-contained SVG."""
    rows = [row for parts in charts for row in [*_rows(parts), None]][:-1]
    height = 40 + _ROW_HEIGHT * len(rows)
    label = html.escape(title, quote=True)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" role="img" aria-label="{label}">',
        "<style>text{fill:#222;font:10px sans-serif}rect{fill:#2563a8}",
        "@media(prefers-color-scheme:dark){text{fill:#ddd}rect{fill:#7db3ee}}</style>",
        f'<text x="8" y="18" style="font-size:13px">{html.escape(title)}</text>',
    ]
    for index, row in enumerate(rows):
        if row is not None:
            name, share, length = row
            top = 32 + _ROW_HEIGHT * index
            drawn += [
                f'<text x="150" y="{top + 9}" text-anchor="end">{html.escape(name)}</text>',
                f'<rect x="156" y="{top}" width="{length:.1f}" height="{_ROW_HEIGHT - 4}"/>',
                f'<text x="{162 + length:.1f}" y="{top + 9}">{share:.1%}</text>',
            ]
    return "\n".join([*drawn, "</svg>", ""])


def _rows(parts: Sequence[Sensitivity]) -> list[tuple[str, float, float] | None]:
    """Return name, share and length of bar of each part; the largest of a chart has the whole length."""
    largest = max(part.share for part in parts)
    return [(part.name.removeprefix("model."), part.share, 420 * part.share / largest) for part in parts]
