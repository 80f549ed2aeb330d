"""A forest plot for each kind of gate: the intervals of its results one below the other, with their limits."""

import itertools
from typing import Any

from quantguard.report import number_format
from quantguard.report.axis import Axis, axis_over
from quantguard.report.contents import Entry, Report

TITLE = "Intervals"
ORDER = 20
TEMPLATE = """
{% for plot in plots %}
<figure>
<figcaption>{{ plot.title }}. Each line runs between the one-sided bounds that the gate decides by.
<span class="key"></span>what is asked; the shaded side does not meet it.</figcaption>
<ul class="rows">
{% for row in plot.rows %}
<li>
<div class="label"><span class="badge {{ row.label }}">{{ row.label }}</span> {{ row.name }}</div>
<div class="plot"><svg height="34" role="img" aria-label="{{ row.description }}">
{% if row.margin is not none %}
<rect class="beyond" x="{{ row.beyond }}%" y="0" width="{{ row.beyond_width }}%" height="34"/>
{% endif %}
{% if plot.zero is not none %}
<line class="zero" x1="{{ plot.zero }}%" x2="{{ plot.zero }}%" y1="0" y2="34"/>
{% endif %}
{% if row.margin is not none %}
<line class="margin" x1="{{ row.margin }}%" x2="{{ row.margin }}%" y1="0" y2="34"/>
{% endif %}
<line class="interval {{ row.label }}" x1="{{ row.low }}%" x2="{{ row.high }}%" y1="17" y2="17"/>
{% for end in [row.low, row.high] %}
<line class="interval {{ row.label }}" x1="{{ end }}%" x2="{{ end }}%" y1="11" y2="23"/>
{% endfor %}
<circle class="estimate {{ row.label }}" cx="{{ row.estimate }}%" cy="17" r="5"/>
</svg></div>
</li>
{% endfor %}
<li aria-hidden="true"><div></div>
<div class="plot"><svg height="24">
<line class="axis" x1="0%" x2="100%" y1="1" y2="1"/>
{% for tick in plot.ticks %}
<line class="axis" x1="{{ tick.at }}%" x2="{{ tick.at }}%" y1="1" y2="6"/>
<text x="{{ tick.at }}%" y="20" text-anchor="middle">{{ tick.text }}</text>
{% endfor %}
</svg></div></li>
</ul>
</figure>
{% endfor %}
"""


def context(report: Report) -> dict[str, Any] | None:
    """Return one plot for each gate and metric that has intervals."""
    drawn = sorted((entry for entry in report.entries if _has_interval(entry)), key=_kind)
    plots = [_plot(list(group)) for _, group in itertools.groupby(drawn, key=_kind)]
    return {"plots": plots} if plots else None


def _has_interval(entry: Entry) -> bool:
    verdict = entry.result.verdict
    return None not in (verdict.delta, verdict.ci_low, verdict.ci_high)


def _kind(entry: Entry) -> tuple[str, str]:
    return entry.result.gate, entry.result.verdict.metric


def _plot(entries: list[Entry]) -> dict[str, Any]:
    verdicts = [entry.result.verdict for entry in entries]
    numbers = number_format.format_of(entries[0].result)
    limits = [number_format.threshold(entry.result) for entry in entries]
    # The value of "no change" is drawn too: a drop is seen against 0, a ratio to full precision against 1.
    unchanged = {"drop": 0.0, "floor": 1.0, "ceiling": 0.0, None: None}[numbers.limit]
    ends = [bound for verdict in verdicts for bound in (verdict.ci_low, verdict.ci_high)]
    axis = axis_over(value for value in (*ends, *limits, unchanged) if value is not None)
    unit = f", {numbers.unit.strip()}" if numbers.unit else ""
    return {
        "title": f"{entries[0].result.gate}: {verdicts[0].metric}{unit}",
        "zero": None if unchanged is None else axis.at(unchanged),
        "ticks": [{"at": axis.at(tick), "text": numbers.write(tick, bare=True)} for tick in axis.ticks],
        "rows": [_row(entry, axis) for entry in entries],
    }


def _row(entry: Entry, axis: Axis) -> dict[str, Any]:
    result, verdict = entry.result, entry.result.verdict
    numbers, limit = number_format.format_of(result), number_format.threshold(result)
    assert verdict.delta is not None
    assert verdict.ci_low is not None
    assert verdict.ci_high is not None
    margin = None if limit is None else axis.at(limit)
    # A ceiling is exceeded on its right; anything else falls short on its left.
    left = 0.0 if numbers.limit != "ceiling" else margin
    right = margin if numbers.limit != "ceiling" else 100.0
    return {
        "label": result.label,
        "name": f"{result.subject}, {result.model}, {result.recipe}",
        "description": f"{numbers.write(verdict.delta)}, {number_format.interval_text(result)}; {number_format.limit_text(result)}",
        "low": axis.at(verdict.ci_low),
        "high": axis.at(verdict.ci_high),
        "estimate": axis.at(verdict.delta),
        "margin": margin,
        "beyond": left,
        "beyond_width": None if right is None or left is None else round(right - left, 2),
    }
