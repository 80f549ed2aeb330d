"""Models that another program runs, as what answers."""

import dataclasses

from quantguard import engines
from quantguard.engines._subject import Subject
from quantguard.modeling.loading import tokenizer_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Who runs a model: an engine, the address of a server, and the tokenizer that says what the chat template is."""

    engine: str
    url: str | None = None
    tokenizer: str | None = None

    def connect(self, model: str) -> Subject:
        """Return the model; raises what the engine raises."""
        tokenizer = None if self.tokenizer is None else tokenizer_of(self.tokenizer)
        return engines.members[self.engine].connect(model, url=self.url, tokenizer=tokenizer)
