"""The error of each decoder layer's output against full precision, as measured during quantization."""

from typing import Any

from quantguard.records import LayerReport
from quantguard.report.contents import Entry, Report

TITLE = "Errors by layer"
ORDER = 40
_MOST_LINEARS = 20
TEMPLATE = """
{% macro bars(rows) %}
<ul class="rows">
{% for row in rows %}
<li><div class="label">{{ row.name }}{% if row.note %} <span class="quiet">{{ row.note }}</span>{% endif %}</div>
<svg height="18" role="img" aria-label="{{ row.text }}">
<rect class="bar" x="0%" y="3" width="{{ row.width }}%" height="12"/>
<text x="{{ row.width }}%" dx="6" y="13">{{ row.text }}</text>
</svg></li>
{% endfor %}
</ul>
{% endmacro %}
{% for chart in charts %}
<details{{ " open" if loop.first }}>
<summary>{{ chart.name }}</summary>
<div class="body">
{% if chart.layers %}
<figure>
<figcaption>Squared error of the output over its squared norm, on the calibration text.</figcaption>
{{ bars(chart.layers) }}
</figure>
{% endif %}
{% if chart.linears %}
<h4>The linears with the largest errors</h4>
{{ bars(chart.linears) }}
{% endif %}
</div>
</details>
{% endfor %}
"""


def context(report: Report) -> dict[str, Any] | None:
    """Return a chart for each result that has layer errors."""
    charts = [chart for entry in report.entries if entry.result.layers and (chart := _chart(entry)) is not None]
    return {"charts": charts} if charts else None


def _chart(entry: Entry) -> dict[str, Any] | None:
    layers = [(layer.name, layer.relative_error, _note(layer)) for layer in entry.result.layers]
    linears = [
        (name if name.startswith(layer.name) else f"{layer.name}.{name}", error, "")
        for layer in entry.result.layers
        for name, error in layer.linear_errors.items()
    ]
    worst = sorted(linears, key=lambda linear: -linear[1])[:_MOST_LINEARS]
    result = entry.result
    charts = {"layers": _bars(layers), "linears": _bars(worst)}
    return {"name": f"{result.model}, {result.recipe} ({result.platform})", **charts} if any(charts.values()) else None


def _note(layer: LayerReport) -> str:
    return f"put back: {', '.join(layer.rolled_back)}" if layer.rolled_back else ""


def _bars(rows: list[Any]) -> list[dict[str, Any]]:
    """Return a bar for each row; the largest is three quarters wide, which leaves room for its number."""
    known = [(name.removeprefix("model."), error, note) for name, error, note in rows if error is not None]
    largest = max((error for _, error, _ in known), default=0.0) or 1.0
    return [
        {"name": name, "note": note, "text": f"{error:.2e}", "width": round(75 * error / largest, 2)}
        for name, error, note in known
    ]
