"""Stored baselines that no gate of the suite uses, or that cannot be used as they are."""

from typing import Any

from quantguard.report.contents import Report

TITLE = "Baselines"
ORDER = 65
TEMPLATE = """
<table class="cards" role="table">
<thead role="rowgroup"><tr role="row">
{% for name in ["What", "File", "Why", "Command"] %}<th role="columnheader" scope="col">{{ name }}</th>{% endfor %}
</tr></thead>
<tbody role="rowgroup">
{% for notice in notices %}
<tr role="row"><td role="cell">{{ notice.kind }}</td>
<td role="cell" class="wide"><code>{{ notice.path }}</code></td>
<td role="cell">{{ notice.why }}</td>
<td role="cell" class="wide"><code>{{ notice.command }}</code></td></tr>
{% endfor %}
</tbody></table>
"""


def context(report: Report) -> dict[str, Any] | None:
    """Return the notices on baselines, if there are any."""
    return {"notices": report.notices} if report.notices else None
