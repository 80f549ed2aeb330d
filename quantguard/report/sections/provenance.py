"""The provenance of each gate's result: its reason, notes, kernels and fingerprint."""

from typing import Any

from quantguard.report.contents import Report

TITLE = "What ran"
ORDER = 70
LONGEST_TRACEBACK = 20_000
TEMPLATE = """
{% macro facts(pairs) %}
<dl class="facts">
{% for name, value in pairs %}
<dt>{{ name }}</dt><dd><code>{{ value }}</code></dd>
{% endfor %}
</dl>
{% endmacro %}
{% for entry in entries %}
{% set result, record = entry.result, entry.result.record %}
<details id="{{ entry.anchor }}">
<summary><span class="badge {{ result.label }}">{{ result.label }}</span> {{ result | title }}</summary>
<div class="body">
<p><bdi>{{ result.verdict.reason }}</bdi></p>
{% if record %}<p>{{ record | record_line }}</p>{% endif %}
{% for note in result.notes %}
<p>Note: <bdi>{{ note }}</bdi></p>
{% endfor %}
<dl class="facts">
<dt>test</dt><dd>{{ entry.test }}</dd>
{% if result.against %}<dt>compared with</dt><dd>{{ result.against }}</dd>{% endif %}
{% if result.baseline %}<dt>baseline</dt><dd>{{ result.baseline }}</dd>{% endif %}
{% if record and record.kernels %}<dt>kernels</dt><dd>{% for op, backend in record.kernels.items() %}{{ op }} on {{ backend }}{{ "; " if not loop.last }}{% endfor %}</dd>{% endif %}
{% if record and record.generation_config %}<dt>decoding</dt><dd>temperature {{ record.generation_config.temperature }}, top_p {{ record.generation_config.top_p }}, at most {{ record.generation_config.max_new_tokens }} tokens, seed {{ record.generation_config.seed }}{% if record.generation_config.mode %}, mode {{ record.generation_config.mode }}{% endif %}</dd>{% endif %}
</dl>
{% if result.traceback %}
<h4>Traceback</h4>
<pre tabindex="0" role="region" aria-label="Traceback">{{ result.traceback | shorten(longest) }}</pre>
{% endif %}
{% if record %}
<h4>Fingerprint: has to be the same to be compared</h4>
{{ facts(record.fingerprint.facts().items()) }}
<h4>Recorded only</h4>
{{ facts(record.recorded | dictsort) }}
{% endif %}
</div>
</details>
{% endfor %}
"""


def context(report: Report) -> dict[str, Any] | None:
    """Return all entries."""
    return {"entries": report.entries, "longest": LONGEST_TRACEBACK} if report.entries else None
