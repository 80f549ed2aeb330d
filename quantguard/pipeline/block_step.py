"""One decoder block on its way from float to quantized."""

import dataclasses
import math
from collections.abc import Sequence
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
from quantguard.modeling.precision import wide_parameters
from quantguard.numerics import (
    FakeQuantTensor,
    KVQuantizer,
    QuantTensor,
    choose_scale,
    dequantize,
    split_rows,
    static_kv_quantizer,
)
from quantguard.pipeline.float_law import FloatLaw
from quantguard.records import CalibrationArgs, LayerArgs, LayerReport, QuantArgs, Recipe
from quantguard.transforms import Transform

# Batches that the error of a block is measured on where its quantized outputs are wanted for nothing else.
_NUM_SAMPLED = 2


class BlockStep:
    """One block on its way from float to quantized."""

    def __init__(
        self, block: Block, recipe: Recipe, transforms: list[Transform], config: Any, settings: CalibrationArgs
    ) -> None:
        self.block = block
        self.recipe = recipe
        self.transforms = transforms
        self.config = config
        self.settings = settings
        self.rounding = registry.rounding[recipe.rounding]
        self.report = LayerReport(name=block.name)
        self.layers: dict[str, QuantizedLayer] = {}
        self.floats: dict[str, nn.Linear] = {}

    def run(
        self, activations: Activations | None, law: FloatLaw | None, *, backend: str, device_type: str
    ) -> Activations | None:
        """Quantize the block in place; return what the next one is shown of the text.

        Where there are transforms there is a ``law``: each is held to it. Raises MeasurementError where one breaks it,
        and where the block turns to NaN.
        """
        if activations is None:
            self.layers = self._layers(None)
            self._quantize_kv(None)
            self.floats = swap_linears(self.block, self.layers, backend=backend, device_type=device_type)
            return None
        calibration = BlockCalibration(self.block, activations, self.config, precision=self.settings.precision)
        expected = self._round(calibration) if law is None else self._transform_and_round(calibration, law)
        self._quantize_kv(calibration)
        self.floats = swap_linears(self.block, self.layers, backend=backend, device_type=device_type)
        propagates = self.settings.propagation == "quantized"
        found = calibration.outputs(None if propagates else _NUM_SAMPLED)
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
        return found if propagates else expected

    def _transform_and_round(self, calibration: BlockCalibration, law: FloatLaw) -> Activations:
        """Round a block whose weights of 16 bits are held in float32 from its first transform until then."""
        with wide_parameters(self.block.layer) as stored_in:
            law.untouched(self.block)
            for index, transform in enumerate(self.transforms):
                transform.apply(calibration)
                law.applied(index, calibration)
            expected = self._round(calibration)
            if stored_in is not None:
                self._round_what_stays_float(stored_in)
                law.stored(calibration, stored_in)
        return expected

    def _round(self, calibration: BlockCalibration) -> Activations:
        """Choose the integers of the weights; return the outputs of the float block."""
        self.layers = self._layers(calibration)
        return calibration.float_outputs()

    def _round_what_stays_float(self, dtype: torch.dtype) -> None:
        replaced = {id(self.block.linears[name].weight) for name in self.layers}
        for parameter in self.block.layer.parameters():
            if id(parameter) not in replaced:
                parameter.data = parameter.data.to(dtype).to(parameter.dtype)

    def _layers(self, calibration: BlockCalibration | None) -> dict[str, QuantizedLayer]:
        layers: dict[str, QuantizedLayer] = {}
        for group in self.block.groups.values():
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
        static = _is_static(args)
        stats = calibration.stats(group, gram=needs, magnitudes=static) if calibration and (needs or static) else None
        clips = [calibration.clips.get(name, LearnedClips()) if calibration else LearnedClips() for name in weights]
        clip = torch.cat([c.weight for c in clips if c.weight is not None]) if clips[0].weight is not None else None
        together, sizes = torch.cat(list(weights.values())), [len(weight) for weight in weights.values()]
        stacked: QuantTensor | FakeQuantTensor = self.rounding.quantize_weight(
            together,
            args.weights,
            stats=stats,
            options=self.recipe.options.get(self.recipe.rounding, {}),
            clip=clip,
        )
        if stats is not None and stats.gram is not None:
            errors = output_errors(together, stacked, stats.gram, sizes)
            self.report.linear_errors.update(zip(weights, errors, strict=True))
        layers = {}
        for name, part, learned in zip(weights, split_rows(stacked, sizes), clips, strict=True):
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


def output_errors(
    weight: torch.Tensor, quantized: QuantTensor | FakeQuantTensor, gram: torch.Tensor, sizes: Sequence[int]
) -> list[float]:
    """Return ``||(Q - W) X||² / ||W X||²`` over the calibration tokens for consecutive rows, from the Gram matrix."""
    exact = weight.float()
    error = dequantize(quantized) - exact
    squares = [(matrix @ gram).mul_(matrix).sum(dim=1).split(list(sizes)) for matrix in (error, exact)]
    return [float(found.sum() / whole.sum().clamp_min(1e-30)) for found, whole in zip(*squares, strict=True)]


def relative_error(expected: Activations, found: Activations) -> float:
    """Return ``||found - expected||² / ||expected||²`` over the hidden states that were found, of the first batches."""
    difference = total = 0.0
    for ours, theirs in zip(found.batches, expected.batches[: len(found.batches)], strict=True):
        wanted = theirs.words(theirs.hidden)
        difference += _squared(ours.words(ours.hidden) - wanted)
        total += _squared(wanted)
    return difference / max(total, 1e-30)


def _squared(x: torch.Tensor) -> float:
    """Return the sum of squares; within a row in the type of ``x``, over the rows in float64."""
    return float(torch.linalg.vector_norm(x, dim=-1).double().square().sum())
