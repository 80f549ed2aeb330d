"""What a baseline holds: the outcomes of the full-precision model and of the accepted quantized run, item by item."""

import dataclasses
from collections.abc import Sequence

from quantguard.errors import BaselineError
from quantguard.records import Fingerprint, RunRecord, Score


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Why a run is what later ones are held against.

    Attributes:
        by: Who accepted it.
        on: The day, ISO, UTC.
        why: The reason that was given, or that it is no worse than tolerated.
    """

    by: str
    on: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BaselineItem:
    """The outcomes of one item and epoch.

    Attributes:
        sample_id: The item.
        epoch: Which of its answers, from 0 on.
        reference: The outcome of the full-precision model.
        accepted: The outcome of the accepted run.
    """

    sample_id: str
    epoch: int
    reference: Score
    accepted: Score


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The accepted run of one gate.

    Attributes:
        platform: Where it ran, such as ``cpu``.
        model: The name of the model.
        recipe: The name of the recipe.
        benchmark: The benchmark, with every way of decoding that is not the usual one.
        fingerprint: What a later run has to share with it to be compared.
        recorded: What a reader may want to know of the run, and nothing is compared by.
        acceptance: Who accepted it, when and why.
        items: The outcomes, in the order in which items were drawn.
    """

    platform: str
    model: str
    recipe: str
    benchmark: str
    fingerprint: Fingerprint
    recorded: dict[str, str]
    acceptance: Acceptance
    items: tuple[BaselineItem, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise BaselineError("it holds no items")
        keys = [(item.sample_id, item.epoch) for item in self.items]
        if len(set(keys)) != len(keys):
            raise BaselineError("it holds an item twice")
        for item in self.items:
            for score in (item.reference, item.accepted):
                if (score.sample_id, score.epoch) != (item.sample_id, item.epoch):
                    raise BaselineError(f"item {item.sample_id} holds the outcome of {score.sample_id}")

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """The ids of the items, each once, in the order in which they were drawn."""
        return tuple(dict.fromkeys(item.sample_id for item in self.items))

    def scores(self, against: str) -> tuple[Score, ...]:
        """Return the stored outcomes of the accepted run (``baseline``) or of full precision (``reference``)."""
        return tuple(item.reference if against == "reference" else item.accepted for item in self.items)


def baseline_from_runs(candidate: RunRecord, reference: Sequence[Score], acceptance: Acceptance) -> Baseline:
    """Join an accepted run with full precision's scores of the same items.

    Raises BaselineError where the two did not run the same items.
    """
    floats = {(score.sample_id, score.epoch): score for score in reference}
    missing = [score.sample_id for score in candidate.scores if (score.sample_id, score.epoch) not in floats]
    if missing:
        raise BaselineError(
            f"the full-precision run lacks {len(missing)} items of the candidate's, such as {missing[0]}"
        )
    return Baseline(
        platform=candidate.platform,
        model=candidate.model,
        recipe=candidate.recipe_name,
        benchmark=candidate.benchmark,
        fingerprint=candidate.fingerprint,
        recorded=dict(candidate.recorded),
        acceptance=acceptance,
        items=tuple(
            BaselineItem(
                sample_id=score.sample_id,
                epoch=score.epoch,
                reference=floats[score.sample_id, score.epoch],
                accepted=score,
            )
            for score in candidate.scores
        ),
    )
