"""Applying a recipe to a model, block by block."""

import copy
import dataclasses
import os
from collections.abc import Mapping, Sequence

import torch

from quantguard import registry
from quantguard.calibration._items import calibration_items
from quantguard.errors import RecipeError
from quantguard.modeling import (
    Activations,
    Decoder,
    LoadedModel,
    embed,
    quantizable_linears,
    require_described,
)
from quantguard.modeling.finite import named_tensors, require_finite
from quantguard.modeling.precision import matmul_precision, wide_parameters
from quantguard.pipeline.block_step import BlockStep
from quantguard.pipeline.float_law import FloatLaw
from quantguard.pipeline.opening import load
from quantguard.pipeline.progress import Progress, silent
from quantguard.recipes import load_recipe
from quantguard.records import CalibrationArgs, LayerReport, Recipe
from quantguard.records.codec import digest
from quantguard.transforms import Transform
from quantguard.transforms._composition import create_transforms


def quantize(
    model: LoadedModel | str | os.PathLike[str],
    recipe: Recipe | str | os.PathLike[str],
    *,
    backend: str = "auto",
    progress: Progress = silent,
) -> LoadedModel:
    """Return a quantized copy of a model, with what it was made from in ``full_precision``.

    Raises RecipeError where the recipe does not fit the model or asks for what is not built, KernelError where the
    backend cannot run it, ModelError where a weight holds NaN or infinity and MeasurementError where a layer turns to
    NaN.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model)
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(os.fspath(recipe))
    if loaded.recipe is not None:
        raise RecipeError(
            f"{loaded.name} is quantized already, by {loaded.recipe.name}; quantize the full-precision model"
        )
    check_weight_types(chosen)
    twin = dataclasses.replace(loaded, model=copy.deepcopy(loaded.model))
    decoder = require_described(twin.model)
    require_finite(named_tensors(twin.model), where=loaded.name)
    linears = quantizable_linears(decoder.blocks, chosen.ignore)
    widths = {name: linear.in_features for name, linear in linears.items()}
    settings = chosen.calibration or loaded.calibration
    sequences, calibration_sha256 = calibration_text(loaded, chosen, settings)
    reports = quantize_decoder(
        decoder,
        chosen,
        sequences,
        settings,
        backend=backend,
        device_type=twin.device_type,
        progress=progress,
    )
    for name, module in decoder.ends.items():
        require_finite(named_tensors(module, name), where=f"in {loaded.name} quantized")
    return dataclasses.replace(
        twin,
        recipe=chosen,
        calibration_sha256=calibration_sha256,
        calibration_items=() if sequences is None else calibration_items(settings),
        notes=short_groups(chosen, widths),
        layer_reports=reports,
        full_precision=loaded,
    )


class Journal:
    """What is told of every block that is quantized; this one forgets it and knows of none before."""

    def finished_reports(self) -> Sequence[LayerReport]:
        """Return the reports of blocks that an earlier run finished, in order."""
        return ()

    def hidden_states(self) -> Sequence[torch.Tensor]:
        """Return the calibration text's hidden states behind the last finished block."""
        raise NotImplementedError("no block is finished")

    def law_states(self) -> Mapping[str, torch.Tensor]:
        """Return what the float law's sample is behind the last finished block."""
        raise NotImplementedError("no block is finished")

    def block_finished(self, step: BlockStep, activations: Activations | None, law: FloatLaw | None) -> None:
        """Take note of a block, of what the next one is shown, and of the float law where it is held."""


def check_weight_types(recipe: Recipe) -> None:
    """Raise RecipeError where the rounding does not make the type of weights that is asked for."""
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
    settings: CalibrationArgs,
    *,
    backend: str,
    device_type: str,
    progress: Progress = silent,
    journal: Journal | None = None,
) -> tuple[LayerReport, ...]:
    """Transform and quantize a decoder in place; ``sequences`` is the calibration text, absent where none is needed.

    Of ``settings``, precision and propagation are followed; the text is drawn already.
    A ``journal`` is told of every block, and may know blocks that are finished already.
    """
    journal = journal or Journal()
    transforms = create_transforms(recipe)
    activations = None if sequences is None else embed(decoder, sequences)
    law = FloatLaw(decoder, sequences, transforms) if transforms and sequences else None
    for transform in transforms.values():
        if transform.learns and activations is not None:
            with matmul_precision(settings.precision):
                transform.learn(decoder, activations)
    if law is not None:
        _prepare(decoder, transforms, law)
    reports = list(journal.finished_reports())
    if reports and activations is not None:
        activations = activations.replaced(journal.hidden_states())
    if reports and law is not None:
        law.resume(journal.law_states())
    total = len(decoder.blocks)
    with progress(f"quantizing with {recipe.name}", total) as advance:
        advance(len(reports), resumed=True)
        for block in decoder.blocks[len(reports) :]:
            step = BlockStep(block, recipe, list(transforms.values()), decoder.model.config, settings)
            with matmul_precision(settings.precision):
                activations = step.run(activations, law, backend=backend, device_type=device_type)
            reports.append(step.report)
            journal.block_finished(step, activations, law)
            advance(1, describe(step.report))
    if law is not None:
        law.finish()
    return tuple(reports)


def _prepare(decoder: Decoder, transforms: Mapping[str, Transform], law: FloatLaw) -> None:
    """Change the ends; those of 16 bits are in float32 until all transforms are through."""
    with wide_parameters(decoder.embedding, decoder.norm, decoder.head):
        for transform in transforms.values():
            transform.prepare(decoder)
            law.prepared(decoder, transform)
    law.ends_stored(decoder)


def describe(report: LayerReport) -> str:
    """Say in a few words how a block came out."""
    parts = [report.name.rpartition(".")[2]]
    if report.losses:
        parts.append(f"loss {report.losses[0]:.3g} to {report.losses[-1]:.3g}")
    if report.relative_error is not None:
        parts.append(f"error {report.relative_error:.2g}")
    if report.rolled_back:
        parts.append(f"rolled back: {', '.join(report.rolled_back)}")
    return "layer " + ", ".join(parts)


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


def short_groups(recipe: Recipe, widths: dict[str, int]) -> tuple[str, ...]:
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
