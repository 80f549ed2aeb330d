"""The report as one self-contained HTML page: the sections in their order, within one frame."""

import base64
import functools
import hashlib
import importlib.resources
from typing import Any

import jinja2
import markupsafe

from quantguard.report import number_format, visible_text
from quantguard.report.contents import Report
from quantguard.report.plain_text import LABELS, record_line, test_counts, title
from quantguard.report.sections import members

_TEMPLATES = importlib.resources.files("quantguard.report") / "templates"


def html(report: Report) -> str:
    """Render the page."""
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
        tests=test_counts(report.results),
        # Both are files of this package, and the content security policy allows their hashes alone: nothing else runs.
        style=markupsafe.Markup(style),  # noqa: S704
        script=markupsafe.Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


@functools.cache
def _template(text: str) -> jinja2.Template:
    """Compile a template, once: compiling takes most of the time of a small report."""
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
        "interval": number_format.interval_text,
        "limit": number_format.limit_text,
        "measure": lambda value, result: number_format.format_of(result).write(value),
        "one_line": visible_text.in_one_line,
        "percent": lambda rate: "–" if rate is None else f"{rate:.1%}",
        "record_line": record_line,
        "shorten": visible_text.shorten,
        "title": title,
    }
    return environment


def _shown(value: Any) -> Any:
    """Make every text that a template prints visible; markup comes from the templates themselves and stays."""
    if isinstance(value, str) and not isinstance(value, markupsafe.Markup):
        return visible_text.visible(value)
    return value


def _hash(text: str) -> str:
    """Return the hash by which a content security policy allows an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
