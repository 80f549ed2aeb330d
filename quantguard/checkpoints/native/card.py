"""The README of a quantized model: what it is, how it came out, and how to load it."""

import jinja2

from quantguard.checkpoints.native.manifest import Manifest

_CARD = """\
# {{ m.name }}, quantized by {{ m.recipe.name }}

{{ m.recipe.description }}

Made by quantguard {{ m.versions.quantguard }} from `{{ m.source }}` (sha256 of its weights
`{{ m.weights_sha256[:16] }}…`), in {{ m.dtype }}.

{% if m.calibration_sha256 %}
Calibrated on {{ m.calibration.num_samples }} samples of {{ m.calibration.dataset }}, at most
{{ m.calibration.max_length }} tokens each (sha256 of the tokens `{{ m.calibration_sha256[:16] }}…`).
{% else %}
Nothing of it was calibrated.
{% endif %}

## Loading it

{% if m.beyond %}
With quantguard: `quantguard.load("PATH")`. compressed-tensors, which others load, cannot express
{{ m.beyond | join(", nor ") }}.
{% else %}
The format is compressed-tensors, which vLLM, SGLang and transformers (with the package compressed-tensors) load, and so
does `quantguard.load("PATH")`. Dynamic scales of activations are max / 127 in quantguard and in serving kernels;
transformers computes max / 127.5, and its loader (5.23) takes no asymmetric weights of this format, whoever wrote them.
{% endif %}

Gate it: `guard.check("PATH")` in a test that is marked with gates. Check its files: `quantguard check PATH`.

## How the layers came out

Relative squared error of each decoder layer's output on the calibration text, `||quantized - float||² / ||float||²`.

| layer | error |
|---|---|
{% for state in m.blocks.values() -%}
| {{ state.report.name }} | {{ "not measured" if state.report.relative_error is none
    else "%.2e" | format(state.report.relative_error) }} |
{% endfor %}

{% for note in m.notes -%}
Note: {{ note }}.
{% endfor %}

## Versions

{% for name, version in m.versions | dictsort -%}
* {{ name }} {{ version }}
{% endfor %}"""


def card(manifest: Manifest) -> str:
    """Return the card as Markdown."""
    environment = jinja2.Environment(autoescape=False, trim_blocks=True, keep_trailing_newline=True)  # noqa: S701 - no HTML
    return environment.from_string(_CARD).render(m=manifest)
