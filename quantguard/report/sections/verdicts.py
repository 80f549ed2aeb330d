"""A table with one line for each gate: outcome, value, interval and limit; and the reasons of those that failed."""

from typing import Any

from quantguard.report.contents import Report
from quantguard.report.plain_text import LABELS

TITLE = "Verdicts"
ORDER = 10
# Roles are written out, since a table that is laid out as cards on a phone loses them.
TEMPLATE = """
{% if entries %}
<table class="cards" data-sortable role="table">
<thead role="rowgroup"><tr role="row">
{% for name in ["Outcome", "Gate", "Model", "Recipe", "Measured", "Value", "Interval", "Asked", "Pairs"] %}
<th role="columnheader" scope="col">{{ name }}</th>
{% endfor %}
</tr></thead>
<tbody role="rowgroup">
{% for entry in entries %}
{% set result, verdict = entry.result, entry.result.verdict %}
<tr role="row">
<td role="cell" data-value="{{ severity[result.label] }}"><span class="badge {{ result.label }}">{{ result.label }}</span></td>
<td role="cell" class="name"><a href="#{{ entry.anchor }}">{{ result.gate }}</a></td>
<td role="cell"><bdi>{{ result.model or "–" }}</bdi></td>
<td role="cell"><bdi>{{ result.recipe or "–" }}</bdi></td>
<td role="cell" class="wide"><span><bdi>{{ result.subject }}</bdi> <span class="quiet">{{ result.platform }}</span></span></td>
<td role="cell" class="number" data-label="Value" data-value="{{ verdict.delta if verdict.delta is not none }}">{{ verdict.delta | measure(result) }}</td>
<td role="cell" class="number" data-label="Interval" data-value="{{ verdict.ci_low if verdict.ci_low is not none }}">{{ result | interval }}</td>
<td role="cell" class="number" data-label="Asked" data-value="{{ verdict.margin if verdict.margin is not none }}">{{ result | limit }}</td>
<td role="cell" class="number" data-label="Pairs" data-value="{{ verdict.n if verdict.n is not none }}">{{ verdict.n if verdict.n is not none else "–" }}</td>
</tr>
{% endfor %}
</tbody>
</table>
<ul class="reasons">
{% for entry in entries if entry.result.label != "PASS" %}
<li><span class="badge {{ entry.result.label }}">{{ entry.result.label }}</span>
<a href="#{{ entry.anchor }}">{{ entry.result | title }}</a>:
<bdi>{{ entry.result.verdict.reason }}</bdi></li>
{% endfor %}
</ul>
{% else %}
<p>No gate was decided.</p>
{% endif %}
"""


def context(report: Report) -> dict[str, Any]:
    """Return all entries, and the order of outcomes."""
    severity = {name: rank for rank, name in enumerate(LABELS)}
    return {"entries": report.entries, "severity": severity}
