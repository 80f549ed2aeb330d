"""What answers: a model in this process, or one that is served elsewhere."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from quantguard.engines._prompting import Request
from quantguard.records import Fingerprint, Generation, GenerationConfig, Question, Recipe


class Subject(Protocol):
    """Something that answers requests, and what a record says of it.

    ``engine`` is the name of the member of ``quantguard.engines`` that generates. ``recipe`` is absent for full
    precision, and for what is ``served``: quantized or not by whoever serves it.
    """

    @property
    def name(self) -> str:
        """What the model is called."""

    @property
    def engine(self) -> str:
        """The name of the engine."""

    @property
    def platform(self) -> str:
        """What runs are compared on."""

    @property
    def recipe(self) -> Recipe | None:
        """How it was quantized here."""

    @property
    def served(self) -> bool:
        """Tell whether quantization is the business of somebody else."""

    @property
    def tokenizer(self) -> Any:
        """What makes tokens of prompts, of transformers; absent where a server does that, and does not say how."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of it."""

    @property
    def default_batch_size(self) -> int:
        """How many items it takes at once where nobody says."""

    def kernels(self) -> dict[str, str]:
        """Return the backend of every operation that has been replaced."""

    def fingerprint(self, question: Question, *, batch_size: int) -> Fingerprint:
        """Return what two runs of a question must share; how it is put and when answers end is added to the question.

        ``question`` has the data, tokens, decoding and scorer.
        """

    def circumstances(self) -> dict[str, str]:
        """Return what is recorded of the machine, and not compared."""

    def generation_facts(self) -> dict[str, str]:
        """Return what is recorded of how it generates, where that is known, and not compared."""

    def generate(
        self,
        requests: Sequence[Request],
        config: GenerationConfig,
        *,
        batch_size: int,
        finished: Callable[[Generation], None],
    ) -> None:
        """Answer every request and hand each generation to ``finished`` once, in whatever order they end."""
