"""The sensitivity of layers, as a table for the terminal and as an SVG chart."""

import html
from collections.abc import Sequence
from typing import Protocol

_BAR = 24
_ROW_HEIGHT = 14


class Sensitivity(Protocol):
    """How much quantizing one decoder layer or linear, and nothing else, damages the model."""

    @property
    def name(self) -> str:
        """The full name of the layer."""

    @property
    def kl(self) -> float:
        """The KL divergence that quantizing it alone causes, in nats."""

    @property
    def share(self) -> float:
        """Its share of the sum over all layers, 0..1."""

    @property
    def relative_error(self) -> float:
        """The relative error of its own output."""


def table(parts: Sequence[Sensitivity], *, kind: str, count: int) -> list[str]:
    """List the ``count`` most sensitive parts, worst first, with a bar for each one's share of the damage."""
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
    """Draw bar charts of all parts in execution order, one below the other, as a self-contained SVG."""
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
    """Return the name, share and bar length of each part; the largest share of a chart has the full length."""
    largest = max(part.share for part in parts)
    return [(part.name.removeprefix("model."), part.share, 420 * part.share / largest) for part in parts]
