"""Models that another program runs, as what answers."""

import dataclasses

from quantguard import registry
from quantguard.engines._subject import Subject
from quantguard.errors import UsageError
from quantguard.modeling.loading import tokenizer_of
from quantguard.pipeline.in_process import ENGINE


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Who runs a model: an engine, the address of a server, and the tokenizer that says what the chat template is."""

    engine: str
    url: str | None = None
    tokenizer: str | None = None

    def connect(self, model: str) -> Subject:
        """Return the model; raises what the engine raises, and UsageError for the engine that loads models itself."""
        if self.engine == ENGINE:
            raise UsageError(f"the engine {ENGINE} runs models of this process: leave engine and endpoint out")
        tokenizer = None if self.tokenizer is None else tokenizer_of(self.tokenizer)
        subject: Subject = registry.engines[self.engine].connect(model, url=self.url, tokenizer=tokenizer)
        return subject
