"""What was asked of a model, what it said, and how that was scored."""

import dataclasses
from typing import Any, Literal

from quantguard.errors import RecordError, UsageError
from quantguard.records.fingerprint import Fingerprint
from quantguard.records.quantization import Recipe

FinishReason = Literal["stop", "length"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One benchmark item: the text given, the answer expected, if any, and what the set knows about it."""

    id: str
    input: str
    target: str | None = None
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GenerationConfig:
    """How text is generated. ``temperature`` 0 is greedy; otherwise every (sample, epoch) has its own seed.

    ``mode`` is the thinking mode handed to the chat template; absent means the template's default.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    epochs: int = 1
    seed: int = 0
    mode: str | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is {self.max_new_tokens}; it must be at least 1")
        if self.temperature < 0:
            raise UsageError(f"temperature is {self.temperature}; 0 is greedy, larger is more random")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is {self.top_p}; it must be in (0, 1]")
        if self.epochs < 1:
            raise UsageError(f"epochs is {self.epochs}; every item is answered at least once")
        if self.epochs > 1 and self.temperature == 0:
            raise UsageError(f"{self.epochs} epochs of greedy decoding repeat one answer: set temperature above 0")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What the model wrote for one sample, and why it stopped: ``stop`` by itself, ``length`` at the limit."""

    sample_id: str
    epoch: int
    text: str
    num_tokens: int
    finish_reason: FinishReason


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The judgement of one generation: ``value`` 0..1, or absent where it could not be judged.

    ``explanation`` names the rule that decided, such as ``boxed``, ``unparsed`` or ``truncated``.
    """

    sample_id: str
    epoch: int
    value: float | None
    answer: str | None
    explanation: str
    num_tokens: int
    finish_reason: FinishReason

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.num_tokens < 0 or not 0 <= (self.value or 0) <= 1:
            raise RecordError(
                f"the score of {self.sample_id!r}: value {self.value}, epoch {self.epoch}, {self.num_tokens} tokens;"
                " a value is 0..1, and what is counted is not negative"
            )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One evaluated run: what ran, on what, with which kernels, and what came out.

    Attributes:
        model: The name of the model.
        recipe: The recipe that it was quantized by; absent for full precision, and for a model that is ``served``.
        benchmark: The name of the benchmark.
        platform: The platform that it ran on, such as ``cpu``; results of different platforms are never compared.
        generation_config: How text was generated; absent if the benchmark generates none.
        scores: The score of each sample and epoch.
        kernels: Maps each operation to the backend that ran it, with the number of layers.
        fingerprint: What another run has to share with it to be compared.
        recorded: What is kept for readers and compared with nothing.
        metrics: Rates and means over the run, by name.
        notes: Remarks that a reader should know.
        generations: What the model wrote for each sample and epoch; empty if texts are not kept.
        served: Whether a server runs the model, with whatever quantization the server applies.
    """

    model: str
    recipe: Recipe | None
    benchmark: str
    platform: str
    generation_config: GenerationConfig | None
    scores: tuple[Score, ...]
    kernels: dict[str, str]
    fingerprint: Fingerprint
    recorded: dict[str, str]
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    generations: tuple[Generation, ...] = ()
    served: bool = False

    @property
    def recipe_name(self) -> str:
        """The name that a run goes by."""
        return recipe_name(self.recipe, served=self.served)


def recipe_name(recipe: Recipe | None, *, served: bool) -> str:
    """Return the recipe's name, ``full-precision``, or ``as-served`` where quantization is the server's business."""
    if recipe is not None:
        return recipe.name
    return "as-served" if served else "full-precision"
