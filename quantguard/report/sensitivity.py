"""Sensitivities as a table for the terminal and as a picture."""

import html
from collections.abc import Sequence
from typing import Protocol

_BAR = 24
_ROW_HEIGHT = 14


class Sensitivity(Protocol):
    """What is shown of a layer."""

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
    def relative_error(self) -> float | None:
        """The error of its own output."""


def table(layers: Sequence[Sensitivity], *, count: int) -> list[str]:
    """Return the ``count`` most sensitive layers, worst first, with a bar for the share of the damage."""
    worst = sorted(layers, key=lambda layer: -layer.kl)[:count]
    width = max(len(layer.name) for layer in worst)
    lines = [f"{'layer':<{width}}  {'KL alone':>9}  {'error':>8}  share of all"]
    for layer in worst:
        error = "" if layer.relative_error is None else f"{layer.relative_error:.2e}"
        bar = "#" * round(_BAR * layer.share / worst[0].share)
        lines.append(f"{layer.name:<{width}}  {layer.kl:9.2e}  {error:>8}  {layer.share:6.1%} {bar}")
    if len(layers) > count:
        rest = sum(layer.share for layer in layers) - sum(layer.share for layer in worst)
        lines.append(f"{len(layers) - count} more layers have {rest:.1%} between them")
    return lines


def svg(layers: Sequence[Sensitivity], *, title: str) -> str:
    """Return a bar chart of all layers in the order in which they run, as a self-contained SVG."""
    largest = max(layer.share for layer in layers)
    height = 40 + _ROW_HEIGHT * len(layers)
    label = html.escape(title, quote=True)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" role="img" aria-label="{label}">',
        "<style>text{fill:#222;font:10px sans-serif}rect{fill:#2563a8}",
        "@media(prefers-color-scheme:dark){text{fill:#ddd}rect{fill:#7db3ee}}</style>",
        f'<text x="8" y="18" style="font-size:13px">{html.escape(title)}</text>',
    ]
    for index, layer in enumerate(layers):
        top, length = 32 + _ROW_HEIGHT * index, 420 * layer.share / largest
        name = html.escape(layer.name.removeprefix("model.layers."))
        parts += [
            f'<text x="150" y="{top + 9}" text-anchor="end">{name}</text>',
            f'<rect x="156" y="{top}" width="{length:.1f}" height="{_ROW_HEIGHT - 4}"/>',
            f'<text x="{162 + length:.1f}" y="{top + 9}">{layer.share:.1%}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
