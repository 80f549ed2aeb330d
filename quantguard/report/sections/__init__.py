"""The sections of the report's page."""

from typing import Any, Protocol

from quantguard.registry import Registry
from quantguard.report.contents import Report

__all__ = ["Section", "members"]


class Section(Protocol):
    """What a section has."""

    @property
    def TITLE(self) -> str:
        """Its heading."""

    @property
    def ORDER(self) -> int:
        """Where it stands: small numbers first."""

    @property
    def TEMPLATE(self) -> str:
        """Jinja that is escaped, and whose texts are made visible by the page."""

    def context(self, report: Report) -> dict[str, Any] | None:
        """Return the template's names, or None where there is nothing to show."""


members = Registry("report.sections", Section, kind="section of the report")
