"""Scorers: whether an answer is right."""

from typing import Protocol

from quantguard.records import Generation, Sample, Score
from quantguard.registry import Registry
from quantguard.scorers._known_answers import KnownAnswer

__all__ = ["Checkable", "Dependent", "KnownAnswer", "Parallel", "Scorer", "members"]


class Scorer(Protocol):
    """What a scorer has."""

    @property
    def VERSION(self) -> str:
        """Its name and a number that changes whenever its judgement does."""

    def score(self, sample: Sample, generation: Generation) -> Score:
        """Judge an answer: 1.0 for right, 0.0 for wrong, None where it could not be judged."""


class Checkable(Protocol):
    """A scorer with answers whose scores are sure."""

    @property
    def KNOWN_ANSWERS(self) -> tuple[KnownAnswer, ...]:
        """They are scored before a model's: with one of them wrong nothing is judged."""


class Parallel(Protocol):
    """A scorer that says whether threads may share it."""

    @property
    def PARALLEL(self) -> bool:
        """Whether a thread for each core scores."""


class Dependent(Protocol):
    """A scorer whose scores depend on more than its version."""

    def variant(self) -> str:
        """Return what else they depend on, which baselines must share."""

    def recorded(self) -> dict[str, str]:
        """Return what a record keeps of that, and nothing is compared by."""


members = Registry("scorers", Scorer, kind="scorer", abilities=[Checkable, Parallel, Dependent])
