"""Applying a recipe to a model, block by block."""

import copy
import dataclasses
import os
from collections.abc import Sequence

from torch import nn

from quantguard import registry
from quantguard.errors import RecipeError
from quantguard.modeling import (
    Decoder,
    LoadedModel,
    embed,
    find_decoder,
    load,
    quantizable_linears,
)
from quantguard.modeling.calibrating import matmul_precision
from quantguard.pipeline.block_step import BlockStep
from quantguard.pipeline.progress import Progress, silent
from quantguard.recipes import load_recipe
from quantguard.records import CalibrationArgs, LayerReport, Recipe
from quantguard.records.codec import digest


def quantize(
    model: LoadedModel | str | os.PathLike[str],
    recipe: Recipe | str | os.PathLike[str],
    *,
    backend: str = "auto",
    progress: Progress = silent,
) -> LoadedModel:
    """Return a quantized copy of a model, with what it was made from in ``full_precision``.

    Raises RecipeError where the recipe does not fit the model or asks for what is not built, KernelError where the
    backend cannot run it and MeasurementError where a layer turns to NaN.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model)
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(os.fspath(recipe))
    if loaded.recipe is not None:
        raise RecipeError(
            f"{loaded.name} is quantized already, by {loaded.recipe.name}; quantize the full-precision model"
        )
    _check_weight_types(chosen)
    twin = dataclasses.replace(loaded, model=copy.deepcopy(loaded.model))
    decoder = find_decoder(twin.model)
    linears = quantizable_linears(decoder.blocks, chosen.ignore)
    widths = {name: linear.in_features for name, linear in linears.items()}
    settings = chosen.calibration or loaded.calibration
    sequences, calibration_sha256 = calibration_text(loaded, chosen, settings)
    with matmul_precision(settings.matmul_precision):
        reports = quantize_decoder(
            decoder,
            chosen,
            sequences,
            propagation=settings.propagation,
            backend=backend,
            device_type=twin.device_type,
            progress=progress,
        )
    return dataclasses.replace(
        twin,
        recipe=chosen,
        calibration_sha256=calibration_sha256,
        notes=_short_groups(chosen, widths),
        layer_reports=reports,
        full_precision=loaded,
    )


def _check_weight_types(recipe: Recipe) -> None:
    possible = registry.rounding[recipe.rounding].WEIGHT_TYPES
    for args in (recipe.weights, *(override.weights for override in recipe.overrides)):
        if args is not None and args.type not in possible:
            raise RecipeError(
                f"recipe {recipe.name!r}: {recipe.rounding} makes weights of type {' or '.join(possible)},"
                f" not {args.type}"
            )


def quantize_decoder(
    decoder: Decoder,
    recipe: Recipe,
    sequences: Sequence[Sequence[int]] | None,
    *,
    propagation: str,
    backend: str,
    device_type: str,
    progress: Progress = silent,
    floats: dict[str, nn.Linear] | None = None,
) -> tuple[LayerReport, ...]:
    """Transform and quantize a decoder in place; ``sequences`` is the calibration text, absent where none is needed.

    ``floats`` collects the transformed float linears whose place was taken, by full name.
    """
    transforms = [registry.transforms[name].create(recipe, recipe.options.get(name, {})) for name in recipe.transforms]
    activations = None if sequences is None else embed(decoder, sequences)
    for transform in transforms:
        if transform.learns and activations is not None:
            transform.learn(decoder, activations)
    for transform in transforms:
        transform.prepare(decoder)
    reports = []
    with progress(f"quantizing with {recipe.name}", len(decoder.blocks)) as advance:
        for block in decoder.blocks:
            step = BlockStep(block, recipe, transforms, decoder.model.config)
            outputs = step.run(activations, backend=backend, device_type=device_type)
            if outputs is not None:
                activations = outputs.expected if propagation == "full-precision" else outputs.found
            reports.append(step.report)
            if floats is not None:
                floats.update(step.floats)
            advance(1)
    return tuple(reports)


def calibration_text(
    loaded: LoadedModel, recipe: Recipe, args: CalibrationArgs
) -> tuple[Sequence[Sequence[int]] | None, str | None]:
    """Return the token sequences and their hash, where anything in the recipe wants to see activations."""
    activations = (recipe.input_activations, *(override.input_activations for override in recipe.overrides))
    wanted = (
        recipe.transforms
        or registry.rounding[recipe.rounding].NEEDS_GRAM
        or any(a is not None and not a.dynamic for a in activations)
        or (recipe.kv_cache is not None and recipe.kv_cache.strategy == "channel")
    )
    if not wanted:
        return None, None
    sequences = registry.calibration[args.dataset].token_sequences(loaded, args)
    return sequences, digest(sequences)


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
