"""Searching the hyper-parameters of a learned transform: where it diverges or leaves much error, what does better.

A transform says what may be tried in ``SEARCH_SPACE``, option by option. A trial learns the blocks whose inputs stand
out most, on the float network's activations, and is judged by the loss that it ends with. One option is varied at a
time, and each keeps the best that was found before the next is tried.
"""

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from quantguard import transforms
from quantguard.errors import MeasurementError, UsageError
from quantguard.modeling import Activations, Block, BlockCalibration, Decoder, LoadedModel, embed, find_decoder
from quantguard.modeling.precision import matmul_precision
from quantguard.modeling.structure import find_block
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.quantizing import calibration_text
from quantguard.records import CalibrationArgs, Recipe


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One setting: the loss that each probed block ended with, or why it failed."""

    options: dict[str, Any]
    losses: tuple[float, ...] | None
    failure: str | None

    @property
    def score(self) -> float:
        """The mean logarithm of the losses, infinite for a failure."""
        return math.inf if self.losses is None else sum(map(math.log, self.losses)) / len(self.losses)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The best recipe that was found, the trials in their order, and the names of the blocks that were probed."""

    recipe: Recipe
    trials: tuple[Trial, ...]
    blocks: tuple[str, ...]

    @property
    def best(self) -> Trial:
        """The trial that the recipe is made of."""
        return min(self.trials, key=lambda trial: trial.score)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """A float block and what enters it."""

    block: Block
    activations: Activations


def tune(loaded: LoadedModel, recipe: Recipe, *, num_blocks: int = 3, progress: Progress = silent) -> Tuned:
    """Search the hyper-parameters of the recipe's learned transform on ``num_blocks`` blocks.

    Raises UsageError where the recipe has no transform with anything to search or the model fewer blocks, and
    MeasurementError where every setting fails.
    """
    name = _searchable(recipe)
    space = transforms.members.require(name, transforms.Searchable).SEARCH_SPACE
    settings = recipe.calibration or loaded.calibration
    sequences, _ = calibration_text(loaded, recipe, settings)
    assert sequences is not None, "a recipe with a transform is calibrated"
    decoder = loaded.decoder or find_decoder(loaded.model)
    if not 1 <= num_blocks <= len(decoder.blocks):
        raise UsageError(f"{loaded.name} has {len(decoder.blocks)} layers; {num_blocks} of them cannot be probed")
    probes = _hardest(decoder, embed(decoder, sequences), settings, num_blocks, progress)
    search = _Search(decoder, recipe, name, probes, settings)
    with progress(f"searching {name}", 1 + sum(map(len, space.values()))) as advance:
        search.run({})
        advance(1, search.describe())
        for option, values in space.items():
            for value in values:
                search.run({**search.best.options, option: value})
                advance(1, search.describe())
    if search.best.losses is None:
        raise MeasurementError(f"{name}: every setting of the search failed; the last one: {search.best.failure}")
    options = {**recipe.options, name: {**recipe.options.get(name, {}), **search.best.options}}
    tuned = dataclasses.replace(
        recipe,
        name=f"{recipe.name}-tuned",
        description=f"{recipe.name} with the hyper-parameters that a search found for {loaded.name}.",
        options=options,
    )
    return Tuned(recipe=tuned, trials=tuple(search.trials), blocks=tuple(probe.block.name for probe in probes))


def _searchable(recipe: Recipe) -> str:
    members = transforms.members
    searchable = [name for name in members if members.able(name, transforms.Searchable) is not None]
    found = [name for name in recipe.transforms if name in searchable]
    if not found:
        raise UsageError(
            f"recipe {recipe.name!r} uses {', '.join(recipe.transforms) or 'no transform'}, which has nothing to"
            f" search; a recipe with {' or '.join(searchable)} has"
        )
    if found != [recipe.transforms[0]]:
        raise UsageError(f"recipe {recipe.name!r}: {found[0]} is searched on the float model, so it must come first")
    return found[0]


def _hardest(
    decoder: Decoder, activations: Activations, settings: CalibrationArgs, count: int, progress: Progress
) -> list[_Probe]:
    """Return the blocks with an input channel that stands out most, in the order in which they run."""
    seen: list[tuple[float, int, _Probe]] = []
    label = "looking for the hardest layers"
    with progress(label, len(decoder.blocks)) as advance, matmul_precision(settings.precision):
        for index, block in enumerate(decoder.blocks):
            calibration = BlockCalibration(block, activations, decoder.model.config, precision=settings.precision)
            seen.append((-_prominence(calibration), index, _Probe(block=block, activations=activations)))
            seen = sorted(seen, key=lambda entry: entry[:2])[:count]
            activations = calibration.float_outputs()
            advance(1)
    return [probe for _, _, probe in sorted(seen, key=lambda entry: entry[1])]


def _prominence(calibration: BlockCalibration) -> float:
    """Return how far the largest channel of any input of a block is above the median one."""
    stats = [calibration.stats(group, gram=False).absmax for group in calibration.block.groups.values()]
    return max(float(absmax.max() / absmax.median().clamp_min(1e-12)) for absmax in stats)


class _Search:
    """The trials so far; a setting is tried once."""

    def __init__(
        self, decoder: Decoder, recipe: Recipe, name: str, probes: Sequence[_Probe], settings: CalibrationArgs
    ) -> None:
        self._decoder, self._recipe, self._name, self._probes, self._settings = decoder, recipe, name, probes, settings
        self._defaults = {**transforms.members[name].DEFAULTS, **recipe.options.get(name, {})}
        self.trials: list[Trial] = []

    @property
    def best(self) -> Trial:
        return min(self.trials, key=lambda trial: trial.score)

    def run(self, changed: dict[str, Any]) -> None:
        """Learn every probed block with some options changed."""
        options = {name: value for name, value in changed.items() if value != self._defaults[name]}
        if any(trial.options == options for trial in self.trials):
            return
        transform = transforms.members[self._name].create(self._recipe, {**self._defaults, **options})
        losses = []
        try:
            for probe in self._probes:
                config = self._decoder.model.config
                layer = copy.deepcopy(probe.block.layer, {id(config): config})
                calibration = BlockCalibration(
                    find_block(probe.block.name, layer), probe.activations, config, precision=self._settings.precision
                )
                with matmul_precision(self._settings.precision):
                    transform.apply(calibration)
                losses.append(calibration.losses[-1])
        except MeasurementError as error:
            self.trials.append(Trial(options=options, losses=None, failure=str(error)))
            return
        self.trials.append(Trial(options=options, losses=tuple(losses), failure=None))

    def describe(self) -> str:
        """Say in a few words how the last trial came out."""
        last = self.trials[-1]
        found = "failed" if last.losses is None else f"loss {math.exp(last.score):.3g}"
        return f"{worded(last.options)}: {found}"


def worded(options: dict[str, Any]) -> str:
    """Word the options of a trial."""
    return ", ".join(f"{name} = {value}" for name, value in options.items()) or "the recipe's own"
