"""Applying a recipe to a model, block by block."""

import copy
import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import torch

from quantguard import registry
from quantguard.errors import MeasurementError, RecipeError
from quantguard.modeling import (
    Activations,
    Block,
    BlockCalibration,
    Decoder,
    LearnedClips,
    LinearGroup,
    LoadedModel,
    QuantizedLayer,
    embed,
    find_decoder,
    load,
    quantizable_linears,
    swap_linears,
)
from quantguard.modeling.attention import extend_attention
from quantguard.modeling.calibrating import matmul_precision
from quantguard.numerics import (
    FakeQuantTensor,
    KVQuantizer,
    QuantTensor,
    choose_scale,
    dequantize,
    split_rows,
    static_kv_quantizer,
)
from quantguard.pipeline.progress import Progress, silent
from quantguard.recipes import load_recipe
from quantguard.records import CalibrationArgs, LayerArgs, LayerReport, QuantArgs, Recipe
from quantguard.records.codec import digest
from quantguard.transforms import Transform


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
    sequences, calibration_sha256 = _calibration_text(loaded, chosen, settings)
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
) -> tuple[LayerReport, ...]:
    """Transform and quantize a decoder in place; ``sequences`` is the calibration text, absent where none is needed."""
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
            step = _BlockStep(block, recipe, transforms, decoder.model.config)
            outputs = step.run(activations, backend=backend, device_type=device_type)
            if outputs is not None:
                activations = outputs.expected if propagation == "full-precision" else outputs.found
            reports.append(step.report)
            advance(1)
    return tuple(reports)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Outputs:
    """What the float and the quantized block make of the calibration text."""

    expected: Activations
    found: Activations


class _BlockStep:
    """One block on its way from float to quantized."""

    def __init__(self, block: Block, recipe: Recipe, transforms: list[Transform], config: Any) -> None:
        self.block = block
        self.recipe = recipe
        self.transforms = transforms
        self.config = config
        self.rounding = registry.rounding[recipe.rounding]
        self.report = LayerReport(name=block.name)

    def run(self, activations: Activations | None, *, backend: str, device_type: str) -> "_Outputs | None":
        """Quantize the block in place; return what it makes of the text, before and after."""
        if activations is None:
            swap_linears(self.block, self._layers(None), backend=backend, device_type=device_type)
            self._quantize_kv(None)
            return None
        calibration = BlockCalibration(self.block, activations, self.config)
        for transform in self.transforms:
            transform.apply(calibration)
        layers = self._layers(calibration)
        self._quantize_kv(calibration)
        expected = calibration.float_outputs()
        swap_linears(self.block, layers, backend=backend, device_type=device_type)
        found = calibration.outputs()
        error = relative_error(expected, found)
        if not math.isfinite(error):
            raise MeasurementError(
                f"{self.block.name} turns to NaN or infinity when quantized by {self.recipe.name!r}; its settings are"
                " too harsh for this layer, or the float model overflows in its type"
            )
        self.report = dataclasses.replace(
            self.report,
            relative_error=error,
            losses=calibration.losses,
            rolled_back=calibration.rolled_back,
        )
        return _Outputs(expected=expected, found=found)

    def _layers(self, calibration: BlockCalibration | None) -> dict[str, QuantizedLayer]:
        layers: dict[str, QuantizedLayer] = {}
        for group in self.block.groups:
            settings = {name: self.recipe.layer_args(name) for name in group.names}
            for args in dict.fromkeys(args for args in settings.values() if args is not None):
                members = {
                    name: linear.weight.detach()
                    for name, linear in zip(group.names, group.linears, strict=True)
                    if settings[name] == args
                }
                layers.update(self._round_together(group, members, args, calibration))
        return layers

    def _round_together(
        self,
        group: LinearGroup,
        weights: dict[str, torch.Tensor],
        args: LayerArgs,
        calibration: BlockCalibration | None,
    ) -> dict[str, QuantizedLayer]:
        """Round the weights of linears that share input and settings as one: no rounding mixes rows."""
        needs = self.rounding.NEEDS_GRAM
        stats = calibration.stats(group, gram=needs) if calibration and (needs or _is_static(args)) else None
        clips = [calibration.clips.get(name, LearnedClips()) if calibration else LearnedClips() for name in weights]
        clip = torch.cat([c.weight for c in clips if c.weight is not None]) if clips[0].weight is not None else None
        stacked: QuantTensor | FakeQuantTensor = self.rounding.quantize_weight(
            torch.cat(list(weights.values())),
            args.weights,
            stats=stats,
            options=self.recipe.options.get(self.recipe.rounding, {}),
            clip=clip,
        )
        parts = split_rows(stacked, [len(weight) for weight in weights.values()])
        layers = {}
        for (name, weight), part, learned in zip(weights.items(), parts, clips, strict=True):
            if stats is not None and stats.gram is not None:
                self.report.linear_errors[name] = output_error(weight, part, stats.gram)
            layers[name] = QuantizedLayer(
                weight=part,
                input_activations=_clipped(args.input_activations, learned.activation),
                input_scale=_static_scale(args, stats.absmax) if stats and _is_static(args) else None,
            )
        return layers

    def _quantize_kv(self, calibration: BlockCalibration | None) -> None:
        args = self.recipe.kv_cache
        if args is None:
            return
        extension = extend_attention(self.config, self.block)
        if args.strategy == "token":
            extension.quantizers = (KVQuantizer(args=args), KVQuantizer(args=args))
            return
        assert calibration is not None
        keys, values = calibration.keys_and_values(extension)
        extension.quantizers = (static_kv_quantizer(keys, args), static_kv_quantizer(values, args))


def _is_static(args: LayerArgs) -> bool:
    return args.input_activations is not None and not args.input_activations.dynamic


def _clipped(args: QuantArgs | None, clip_ratio: float) -> QuantArgs | None:
    if args is None or clip_ratio == 1.0:
        return args
    return dataclasses.replace(args, clip_ratio=args.clip_ratio * clip_ratio)


def _static_scale(args: LayerArgs, absmax: torch.Tensor) -> torch.Tensor:
    assert args.input_activations is not None
    scale, _ = choose_scale(absmax[None], args.input_activations)
    return scale


def output_error(weight: torch.Tensor, quantized: QuantTensor | FakeQuantTensor, gram: torch.Tensor) -> float:
    """Return ``||(Q - W) X||² / ||W X||²`` over the calibration tokens, from the inputs' Gram matrix."""
    error = dequantize(quantized) - weight.float()
    expected = weight.float()
    return float((error @ gram * error).sum() / (expected @ gram * expected).sum().clamp_min(1e-30))


def relative_error(expected: Activations, found: Activations) -> float:
    """Return ``||found - expected||² / ||expected||²`` over all hidden states."""
    difference = total = 0.0
    for ours, theirs in zip(found.batches, expected.batches, strict=True):
        difference += float((ours.hidden.double() - theirs.hidden.double()).square().sum())
        total += float(theirs.hidden.double().square().sum())
    return difference / max(total, 1e-30)


def _calibration_text(
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
    sequences = registry.calibration[args.dataset].token_sequences(loaded.tokenizer, args)
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
