"""Ways to get answers from a model."""

from typing import Any, Protocol

from quantguard.engines._subject import Subject
from quantguard.modeling import LoadedModel
from quantguard.registry import Registry

__all__ = ["Engine", "Subject", "members"]


class Engine(Protocol):
    """What an engine has."""

    @property
    def VERSION(self) -> str:
        """Its name and a number that changes whenever its answers may."""

    def connect(self, model: str | LoadedModel, *, url: str | None = None, tokenizer: Any = None) -> Subject:
        """Return the model as what answers.

        ``model`` is a name for an engine that finds or serves models itself, and a loaded one for the engine of this
        process. ``url`` is the address of a server, ``tokenizer`` says what its chat template is. Raises UsageError for
        what the engine does not take.
        """


members = Registry("engines", Engine, kind="engine")
