"""The timed blocks of each latency gate: a histogram of the speed-ups beside the limit, and the times over the run."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from quantguard.records import TimedBlock
from quantguard.report import number_format
from quantguard.report.axis import axis_over
from quantguard.report.contents import Entry, Report

TITLE = "Latency"
ORDER = 50
_HEIGHT = 90
TEMPLATE = """
{% for plot in plots %}
<h3><span class="badge {{ plot.label }}">{{ plot.label }}</span> {{ plot.name }}</h3>
<figure>
<figcaption>{{ plot.caption }} <span class="key"></span>what is asked. <span class="key solid"></span>the median.</figcaption>
<div class="plot"><svg height="{{ plot.height + 24 }}" role="img" aria-label="{{ plot.caption }}">
{% for bar in plot.bars %}
<rect class="bar" x="{{ bar.at }}%" y="{{ plot.height - bar.height }}" width="{{ bar.width }}%" height="{{ bar.height }}"/>
{% endfor %}
{% if plot.limit is not none %}
<line class="margin" x1="{{ plot.limit }}%" x2="{{ plot.limit }}%" y1="0" y2="{{ plot.height }}"/>
{% endif %}
<line class="interval" x1="{{ plot.median }}%" x2="{{ plot.median }}%" y1="0" y2="10"/>
<line class="axis" x1="0%" x2="100%" y1="{{ plot.height }}" y2="{{ plot.height }}"/>
{% for tick in plot.ticks %}
<text x="{{ tick.at }}%" y="{{ plot.height + 18 }}" text-anchor="middle">{{ tick.text }}</text>
{% endfor %}
</svg></div>
</figure>
<figure>
<figcaption>{{ plot.course.caption }} <span class="key other"></span>full precision, <span class="key solid"></span>the candidate, at their blocks' places in the run.</figcaption>
<div class="plot"><svg height="{{ plot.height + 24 }}" role="img" aria-label="{{ plot.course.caption }}">
{% for dot in plot.course.dots %}
<circle class="{{ dot.kind }}" cx="{{ dot.x }}%" cy="{{ dot.y }}" r="2"/>
{% endfor %}
<line class="axis" x1="0%" x2="100%" y1="{{ plot.height }}" y2="{{ plot.height }}"/>
<text x="0%" y="{{ plot.height + 18 }}">first block</text>
<text x="100%" y="{{ plot.height + 18 }}" text-anchor="end">last</text>
</svg></div>
</figure>
{% endfor %}
"""


def context(report: Report) -> dict[str, Any] | None:
    """Return a histogram and the times over the run for each result with timings, prefill and decode apart."""
    plots = [_plot(entry) for entry in report.entries if entry.result.timings]
    return {"plots": plots} if plots else None


def _plot(entry: Entry) -> dict[str, Any]:
    result = entry.result
    ratios = sorted(math.exp(block.log_speedup) for block in result.timings)
    limit, median = number_format.threshold(result), statistics.median(ratios)
    axis = axis_over([*ratios, *([] if limit is None else [limit])])
    counts = _histogram(ratios)
    tallest = max(count for _, _, count in counts)
    return {
        "label": result.label,
        "name": f"{result.subject}, {result.model}, {result.recipe}",
        "caption": f"Time of full precision over time of the candidate, {len(ratios)} blocks: {ratios[0]:.2f}× to"
        f" {ratios[-1]:.2f}×, median {median:.2f}×.",
        "height": _HEIGHT,
        "bars": [
            {
                "at": axis.at(low),
                "width": max(round(axis.at(high) - axis.at(low) - 0.2, 2), 0.3),
                "height": round((_HEIGHT - 14) * count / tallest, 1),
            }
            for low, high, count in counts
        ],
        "limit": None if limit is None else axis.at(limit),
        "median": axis.at(median),
        "ticks": [{"at": axis.at(tick), "text": f"{tick:.3g}×"} for tick in axis.ticks],
        "course": _course(result.timings),
    }


def _course(blocks: Sequence[TimedBlock]) -> dict[str, Any]:
    """Return a dot for each model's time in each block, in milliseconds on an axis from zero."""
    sides = {"reference_seconds": "hollow", "candidate_seconds": "dot"}
    means = {side: [1000 * statistics.fmean(getattr(block, side)) for block in blocks] for side in sides}
    most = max(max(values) for values in means.values())
    medians = [f"{statistics.median(values):.3g} ms" for values in means.values()]
    return {
        "caption": f"Time of a call, zero to {most:.3g} ms: medians {medians[0]} for full precision and {medians[1]} for"
        " the candidate.",
        "dots": [
            {"kind": sides[side], "x": round(100 * (index + 0.5) / len(blocks), 2), "y": _height(value, most)}
            for side, values in means.items()
            for index, value in enumerate(values)
        ],
    }


def _height(value: float, most: float) -> float:
    return round(_HEIGHT - (_HEIGHT - 4) * value / most, 1)


def _histogram(values: list[float]) -> list[tuple[float, float, int]]:
    """Return the low end, high end and count of equal bins, about twice the square root of the number of values."""
    bins = max(5, math.isqrt(len(values)) * 2)
    width = (values[-1] - values[0]) / bins or 1e-3
    counts = [0] * bins
    for value in values:
        counts[min(int((value - values[0]) / width), bins - 1)] += 1
    return [(values[0] + i * width, values[0] + (i + 1) * width, count) for i, count in enumerate(counts)]
