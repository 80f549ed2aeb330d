"""One decoder block on its way from float to quantized."""

import dataclasses
import math
from typing import Any

import torch
from torch import nn

from quantguard import registry
from quantguard.errors import MeasurementError
from quantguard.modeling import (
    Activations,
    Block,
    BlockCalibration,
    LearnedClips,
    LinearGroup,
    QuantizedLayer,
    swap_linears,
)
from quantguard.modeling.attention import extend_attention
from quantguard.modeling.calibrating import Precision
from quantguard.numerics import (
    FakeQuantTensor,
    KVQuantizer,
    QuantTensor,
    choose_scale,
    dequantize,
    split_rows,
    static_kv_quantizer,
)
from quantguard.records import LayerArgs, LayerReport, QuantArgs, Recipe
from quantguard.transforms import Transform


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockOutputs:
    """What the float and the quantized block make of the calibration text."""

    expected: Activations
    found: Activations


class BlockStep:
    """One block on its way from float to quantized."""

    def __init__(
        self, block: Block, recipe: Recipe, transforms: list[Transform], config: Any, *, precision: Precision
    ) -> None:
        self.block = block
        self.recipe = recipe
        self.transforms = transforms
        self.config = config
        self.precision = precision
        self.rounding = registry.rounding[recipe.rounding]
        self.report = LayerReport(name=block.name)
        self.layers: dict[str, QuantizedLayer] = {}
        self.floats: dict[str, nn.Linear] = {}

    def run(self, activations: Activations | None, *, backend: str, device_type: str) -> "BlockOutputs | None":
        """Quantize the block in place; return what it makes of the text, before and after."""
        if activations is None:
            self.layers = self._layers(None)
            self.floats = swap_linears(self.block, self.layers, backend=backend, device_type=device_type)
            self._quantize_kv(None)
            return None
        calibration = BlockCalibration(self.block, activations, self.config, precision=self.precision)
        for transform in self.transforms:
            transform.apply(calibration)
        self.layers = self._layers(calibration)
        self._quantize_kv(calibration)
        expected = calibration.float_outputs()
        self.floats = swap_linears(self.block, self.layers, backend=backend, device_type=device_type)
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
        return BlockOutputs(expected=expected, found=found)

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
        wanted = theirs.words(theirs.hidden).double()
        difference += float((ours.words(ours.hidden).double() - wanted).square().sum())
        total += float(wanted.square().sum())
    return difference / max(total, 1e-30)
