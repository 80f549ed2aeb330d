"""The accuracy of each baseline over the commits of its file, and of this run beside it."""

import itertools
from typing import Any

from quantguard.report.axis import axis_over
from quantguard.report.contents import Entry, Report

TITLE = "History"
ORDER = 60
_HEIGHT = 110
TEMPLATE = """
{% for chart in charts %}
<h3>{{ chart.name }}</h3>
<figure>
<figcaption><span class="key solid"></span>the accepted run's accuracy, <span class="key other"></span>full precision's, by
commit of the baseline{{ "; the ring is this run" if chart.now is not none }}.</figcaption>
<div class="plot" aria-hidden="true"><svg height="{{ chart.height + 22 }}">
{% for tick in chart.grid %}
<line class="axis" x1="0%" x2="100%" y1="{{ tick.at }}" y2="{{ tick.at }}"/>
<text x="0%" y="{{ tick.at - 3 }}">{{ tick.value | percent }}</text>
{% endfor %}
{% for line in chart.lines %}
<line class="{{ line.kind }}" x1="{{ line.x1 }}%" x2="{{ line.x2 }}%" y1="{{ line.y1 }}" y2="{{ line.y2 }}"/>
{% endfor %}
{% for dot in chart.dots %}
<circle class="dot" cx="{{ dot.x }}%" cy="{{ dot.y }}" r="4"/>
{% endfor %}
{% if chart.now is not none %}
<circle class="hollow now" cx="{{ chart.now.x }}%" cy="{{ chart.now.y }}" r="6"/>
{% endif %}
</svg></div>
</figure>
<details><summary>{{ chart.points | length }} commit{{ "s" if chart.points | length != 1 }}</summary><div class="body">
<table class="cards" role="table">
<thead role="rowgroup"><tr role="row">
{% for name in ["Commit", "Day", "Items", "Accepted", "Full precision", "By", "Why"] %}<th role="columnheader" scope="col">{{ name }}</th>{% endfor %}
</tr></thead>
<tbody role="rowgroup">
{% for point in chart.points | reverse %}
<tr role="row"><td role="cell" class="wide"><code>{{ point.commit }}</code> {{ point.subject | one_line(90) }}</td>
<td role="cell" class="number" data-label="Day">{{ point.day }}</td>
<td role="cell" class="number" data-label="Items">{{ point.num_items }}</td>
<td role="cell" class="number" data-label="Accepted">{{ point.accepted | percent }}</td>
<td role="cell" class="number" data-label="Full precision">{{ point.reference | percent }}</td>
<td role="cell" data-label="By">{{ point.by }}</td><td role="cell" data-label="Why">{{ point.why }}</td></tr>
{% endfor %}
</tbody></table></div></details>
{% endfor %}
"""


def context(report: Report) -> dict[str, Any] | None:
    """Return a chart for each baseline with a history; gates that share a baseline share its chart."""
    by_baseline = {entry.result.baseline: entry for entry in report.entries if entry.history}
    return {"charts": [_chart(entry) for entry in by_baseline.values()]} if by_baseline else None


def _chart(entry: Entry) -> dict[str, Any]:
    points, result = entry.history, entry.result
    now = result.record.metrics.get("accuracy") if result.record is not None else None
    values = [value for point in points for value in (point.accepted, point.reference) if value is not None]
    # At least a few points high, so that a change of one item does not look like a cliff.
    middle = sum(values) / len(values)
    axis = axis_over([*values, *([] if now is None else [now]), middle - 0.02, middle + 0.02])
    across = len(points) - (now is None)

    def x(index: int) -> float:
        return round(20 + 76 * index / max(across, 1), 2)

    def y(value: float | None) -> float:
        return round(_HEIGHT - _HEIGHT * axis.at(value or 0.0) / 100, 1)

    lines = [
        {"kind": kind, "x1": x(i), "x2": x(i + 1), "y1": y(getattr(before, side)), "y2": y(getattr(after, side))}
        for kind, side in (("other", "reference"), ("interval", "accepted"))
        for i, (before, after) in enumerate(itertools.pairwise(points))
    ]
    return {
        "name": f"{result.subject}, {result.model}, {result.recipe} ({result.platform})",
        "height": _HEIGHT,
        "points": points,
        "grid": [{"at": y(tick), "value": tick} for tick in axis.ticks],
        "lines": lines,
        "dots": [{"x": x(index), "y": y(point.accepted)} for index, point in enumerate(points)],
        "now": None if now is None else {"x": x(len(points)), "y": y(now)},
    }
