"""What gates ask of a running model.

A member measures both models of a check, which are loaded in this process, and returns what its docstring says: a
value, an object that measures further when it is asked, or a context within which is measured. A gate finds it by
``session.measure(kind, ...)`` and hands it its keywords. Judging is the gate's business.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from quantguard.registry import Registry

if TYPE_CHECKING:
    from quantguard.modeling import LoadedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Models:
    """Both models of a check, and what a session has for whoever measures them."""

    candidate: "LoadedModel"
    """The model under test."""
    reference: "LoadedModel"
    """Its full-precision model."""
    progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
    """Called with a label and a total; gives what is told how many steps have ended."""
    alone: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    """Entered while something is timed: it waits until nothing else is timed on this machine."""
    on_backend: Callable[[str], "LoadedModel"] | None = None
    """Makes the candidate again with the kernels of another backend; absent where backends are not compared."""


class Measure(Protocol):
    """A member of the family."""

    @property
    def measure(self) -> Callable[..., Any]:
        """Measure ``Models``, with the keywords that the member names."""


members = Registry("measures", Measure, kind="measure")
