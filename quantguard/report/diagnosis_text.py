"""A diagnosis as text of 80 columns, and as JSON."""

import textwrap
from typing import Any

from quantguard.records import Diagnosis, Finding, MissingRequirement, Software, to_json

_WIDTH = 80
_INDENT = "      "
_KINDS = ("backends", "benchmarks", "models")


def as_text(diagnosis: Diagnosis) -> str:
    """Describe what is installed, what is usable, and what is missing, with the command that adds it."""
    kinds = {kind: getattr(diagnosis, kind) for kind in _KINDS}
    shown = [one for one in diagnosis.installed if one.notable or one.lack is not None]
    width = max(len(one.name) for group in (shown, *kinds.values()) for one in group)
    lines = ["installed:", *(line for one in shown for line in _software(one, width))]
    for kind, findings in kinds.items():
        if findings:
            lines += ["", f"{kind}:", *(line for one in findings for line in _finding(one, width))]
    return "\n".join([*lines, "", _closing(diagnosis)])


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the diagnosis and its conclusions as JSON values."""
    findings = {kind: [{"usable": one.usable, **to_json(one)} for one in getattr(diagnosis, kind)] for kind in _KINDS}
    return {"usable": diagnosis.usable, **to_json(diagnosis), **findings}


def _software(one: Software, width: int) -> list[str]:
    return [*_wrap(f"  {one.name:<{width}}  {one.version or 'not there'}"), *(_lack(one.lack) if one.lack else [])]


def _finding(one: Finding, width: int) -> list[str]:
    state = "usable" if one.usable else "NOT usable"
    note = f" ({one.note})" if one.note else ""
    return [f"  {one.name:<{width}}  {state}{note}", *(line for lack in one.lacks for line in _lack(lack))]


def _lack(lack: MissingRequirement) -> list[str]:
    """Describe a missing requirement; the command stands unwrapped on its own line, to be copied."""
    return _wrap(f"{_INDENT}{lack.what}") + ([f"{_INDENT}type: {lack.remedy}"] if lack.remedy else [])


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False)


def _closing(diagnosis: Diagnosis) -> str:
    if not diagnosis.asked:
        return "quantguard runs here." if diagnosis.usable else "quantguard does NOT run here."
    return "What was asked for is usable." if diagnosis.usable else "What was asked for is NOT usable."
