"""The report as one HTML page that needs nothing else: sections in their order, within one frame."""

import base64
import functools
import hashlib
import importlib.resources
from typing import Any

import jinja2
import markupsafe

from quantguard.report import measures, wording
from quantguard.report.gathering import Report
from quantguard.report.sections import members
from quantguard.report.text import LABELS, record_line, title, worded_tests

_TEMPLATES = importlib.resources.files("quantguard.report") / "templates"


def html(report: Report) -> str:
    """Return the page."""
    style, script = (_TEMPLATES.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    shown = []
    for name, section in sorted(members.items(), key=lambda item: item[1].ORDER):
        context = section.context(report)
        if context is not None:
            body = _template(section.TEMPLATE).render(context)
            shown.append({"name": name, "title": section.TITLE, "body": markupsafe.Markup(body)})  # noqa: S704
    return _template(_TEMPLATES.joinpath("page.html").read_text(encoding="utf-8")).render(
        report=report,
        sections=shown,
        labels=[entry.result.label for entry in report.entries],
        worst_first=LABELS[::-1],
        tests=worded_tests(report.results),
        # Both are files of this package, and the policy names them by their hashes: nothing else runs.
        style=markupsafe.Markup(style),  # noqa: S704
        script=markupsafe.Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


@functools.cache
def _template(text: str) -> jinja2.Template:
    """Return a compiled template; compiling takes most of the time of a small report."""
    return _environment().from_string(text)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        cache_size=0,
    )
    environment.filters |= {
        "interval": measures.interval,
        "limit": measures.worded_limit,
        "measure": lambda value, result: measures.measure_of(result).write(value),
        "one_line": wording.in_one_line,
        "percent": lambda rate: "–" if rate is None else f"{rate:.1%}",
        "record_line": record_line,
        "shorten": wording.shorten,
        "title": title,
    }
    return environment


def _shown(value: Any) -> Any:
    """Make every text that a template puts out visible; markup is the templates' own."""
    if isinstance(value, str) and not isinstance(value, markupsafe.Markup):
        return wording.visible(value)
    return value


def _hash(text: str) -> str:
    """Return the hash by which a content security policy knows an inline text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
