"""Applying a recipe to a model."""

import copy
import dataclasses
import os

from quantguard import registry
from quantguard.errors import RecipeError
from quantguard.modeling import (
    InputStats,
    LoadedModel,
    find_blocks,
    load,
    observe_inputs,
    quantizable_linears,
    swap_linears,
)
from quantguard.recipes import load_recipe
from quantguard.records import CalibrationArgs, Recipe
from quantguard.records.codec import digest


def quantize(
    model: LoadedModel | str | os.PathLike[str], recipe: Recipe | str | os.PathLike[str], *, backend: str = "auto"
) -> LoadedModel:
    """Return a quantized copy of a model, with what it was made from in ``full_precision``.

    Raises RecipeError where the recipe does not fit the model or asks for what is not built, and KernelError where the
    backend cannot run it.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model)
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(os.fspath(recipe))
    if loaded.recipe is not None:
        raise RecipeError(
            f"{loaded.name} is quantized already, by {loaded.recipe.name}; quantize the full-precision model"
        )
    if chosen.kv_cache is not None:
        raise RecipeError(f"recipe {chosen.name!r} quantizes the KV cache, which is not built yet; leave kv_cache out")
    twin = dataclasses.replace(loaded, model=copy.deepcopy(loaded.model))
    blocks = find_blocks(twin.model)
    linears = quantizable_linears(blocks, chosen.ignore)
    stats, calibration_sha256 = _calibrate(twin, chosen)
    for name in chosen.transforms:
        stats = registry.transforms[name].apply(blocks, stats, chosen.options.get(name, {}))
    rounding = registry.rounding[chosen.rounding]
    weights = {
        name: rounding.quantize_weight(
            linear.weight.detach(),
            chosen.weights,
            stats=stats.get(name),
            options=chosen.options.get(chosen.rounding, {}),
        )
        for name, linear in linears.items()
    }
    swap_linears(twin.model, weights, chosen, backend=backend, device_type=twin.device_type)
    return dataclasses.replace(
        twin,
        recipe=chosen,
        calibration_sha256=calibration_sha256,
        notes=_short_groups(chosen, {name: linear.in_features for name, linear in linears.items()}),
        full_precision=loaded,
    )


def _calibrate(loaded: LoadedModel, recipe: Recipe) -> tuple[dict[str, InputStats], str | None]:
    """Run the calibration text once, where anything in the recipe wants to see inputs."""
    gram = bool(registry.rounding[recipe.rounding].NEEDS_GRAM)
    if not gram and not recipe.transforms:
        return {}, None
    args: CalibrationArgs = recipe.calibration or loaded.calibration
    sequences = registry.calibration[args.dataset].token_sequences(loaded.tokenizer, args)
    return observe_inputs(loaded, find_blocks(loaded.model), sequences, gram=gram), digest(sequences)


def _short_groups(recipe: Recipe, widths: dict[str, int]) -> tuple[str, ...]:
    """Say which layers end in a group that is shorter than the recipe's."""
    size = recipe.weights.group_size
    uneven = {name: width for name, width in widths.items() if size and width % size}
    if not uneven or size is None:
        return ()
    name, width = next(iter(uneven.items()))
    note = (
        f"groups of {size} do not divide {len(uneven)} of {len(widths)} layers: there the last group is shorter"
        f" ({name} has {width} inputs, its last group {width % size})"
    )
    return (note,)
