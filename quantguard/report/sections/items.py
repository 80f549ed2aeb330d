"""The lost and gained items of each gate, with the scores and texts of both runs."""

from typing import Any

from quantguard.report.contents import Entry, Report

TITLE = "Items lost and gained"
ORDER = 30
# At most this many items are shown with their texts over all gates: the page stays small, results.json has the rest.
MOST_ITEMS = 600
MOST_ITEMS_OF_A_GATE = 60
LONGEST_TEXT = 3000
TEMPLATE = """
{% macro side(name, score, text) %}
<div>
<h4>{{ name }}</h4>
<dl class="facts">
<dt>answer</dt><dd>{% if score.answer is none %}none{% else %}<bdi>{{ score.answer | shorten(200) }}</bdi>{% endif %}</dd>
<dt>score</dt><dd>{{ "not judged" if score.value is none else score.value }} <span class="quiet">by the rule {{ score.explanation }}</span></dd>
<dt>length</dt><dd>{{ score.num_tokens }} tokens, {{ "ended by itself" if score.finish_reason == "stop" else "cut off at the limit" }}</dd>
</dl>
{% if text is none %}
<p class="quiet">The text was not kept.</p>
{% else %}
<pre dir="auto" tabindex="0" role="region" aria-label="What {{ name }} wrote">{{ text | shorten(longest) }}</pre>
{% endif %}
</div>
{% endmacro %}
{% for group in groups %}
{% set result, against = group.entry.result, group.entry.result.against or "the other run" %}
<details class="group"{{ " open" if group.open }}>
<summary><span class="badge {{ result.label }}">{{ result.label }}</span>
{{ result.subject }}, {{ result.model }}, {{ result.recipe }}:
<strong>{{ group.num_lost }} lost, {{ group.num_gained }} gained</strong> against {{ against }}</summary>
<div class="body">
{% for flip in group.shown %}
<details class="item {{ 'lost' if flip.lost else 'gained' }}">
<summary>{{ "lost" if flip.lost else "gained" }} <strong>{{ flip.after.sample_id }}</strong>{% if flip.after.epoch %}, epoch {{ flip.after.epoch }}{% endif %}:
<bdi>{{ (flip.before.answer or flip.before.explanation) | one_line }}</bdi> became
<bdi>{{ (flip.after.answer or flip.after.explanation) | one_line }}</bdi>{% if flip.sample and flip.sample.target is not none %},
<span class="quiet">target <bdi>{{ flip.sample.target | one_line }}</bdi></span>{% endif %}</summary>
<div class="body">
{% if flip.sample %}
<h4>The question</h4>
<pre dir="auto" tabindex="0" role="region" aria-label="The question">{{ flip.sample.input | shorten(longest) }}</pre>
{% endif %}
<div class="sides">
{{ side(against, flip.before, flip.before_text) }}
{{ side("this run", flip.after, flip.after_text) }}
</div>
</div>
</details>
{% endfor %}
{% if group.rest %}
<p class="quiet">And {{ group.rest | length }} more, in results.json:
{% for flip in group.rest[:200] %}{{ flip.after.sample_id }} ({{ "lost" if flip.lost else "gained" }}){{ ", " if not loop.last }}{% endfor %}{{ ", …" if group.rest | length > 200 }}</p>
{% endif %}
</div>
</details>
{% endfor %}
"""


def context(report: Report) -> dict[str, Any] | None:
    """Return the flips of each gate, with texts for as many as the page has room for."""
    entries = [entry for entry in report.entries if entry.flips]
    if not entries:
        return None
    room = max(1, min(MOST_ITEMS_OF_A_GATE, MOST_ITEMS // len(entries)))
    groups = [_group(entry, room) for entry in entries]
    # The first gate that did not pass is open, since that is what a reader came for.
    next((group for group in groups if group["entry"].result.label != "PASS"), groups[0])["open"] = True
    return {"groups": groups, "longest": LONGEST_TEXT}


def _group(entry: Entry, room: int) -> dict[str, Any]:
    """Show lost items first, but leave a third of the room to gained items if there are both."""
    gained = entry.gained[: max(room // 3, room - len(entry.lost))]
    lost = entry.lost[: max(1, room - len(gained))]
    shown = (*lost, *gained)
    rest = [*entry.lost[len(lost) :], *entry.gained[len(gained) :]]
    return {
        "entry": entry,
        "shown": shown,
        "rest": rest,
        "num_lost": len(entry.lost),
        "num_gained": len(entry.gained),
        "open": False,
    }
