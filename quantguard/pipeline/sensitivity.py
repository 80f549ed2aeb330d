"""Where quantization hurts: the share of every layer in the damage, and mixed precision chosen by it."""

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import nn

from quantguard import registry
from quantguard.errors import MeasurementError, RecipeError, UsageError
from quantguard.modeling import Activations, LoadedModel, find_decoder
from quantguard.modeling.comparing import compare_logits
from quantguard.pipeline.block_step import BlockStep
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.quantizing import Journal, calibration_text, quantize, quantize_decoder
from quantguard.records import LayerArgs, Override, QuantArgs, Recipe

NUM_COMPARED = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerSensitivity:
    """What quantizing one linear alone does.

    kl: the mean divergence from full precision of the next-token distribution, nats. share: its part of the sum
    over all layers, 0..1. relative_error: ``||(Q - W) X||² / ||W X||²`` of its own output; absent where the recipe's
    rounding needs no calibration text. num_weights and num_bits: its size.
    """

    name: str
    kl: float
    share: float
    relative_error: float | None
    num_weights: int
    num_bits: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MixedPrecision:
    """A recipe with better settings for the layers that need them, what it was predicted to cost and what it costs.

    predicted_kl adds up the divergences of single layers; measured_kl is that of the quantized model, both on the
    same text.
    """

    recipe: Recipe
    effective_bits: float
    predicted_kl: float
    measured_kl: float


class _Floats(Journal):
    """Keeps the transformed float linears whose place was taken, by full name."""

    def __init__(self) -> None:
        self.linears: dict[str, nn.Linear] = {}

    def block_finished(self, step: BlockStep, activations: Activations | None) -> None:
        del activations
        self.linears.update(step.floats)


def sensitivity(
    loaded: LoadedModel,
    recipe: Recipe,
    sequences: Sequence[Sequence[int]],
    *,
    progress: Progress = silent,
) -> tuple[LayerSensitivity, ...]:
    """Quantize one linear at a time and compare with full precision over token ``sequences``.

    Transforms are in place throughout, so a layer is judged as it would be in the quantized model, and the cache stays
    float. The layers come in the order in which they run.
    """
    twin = dataclasses.replace(loaded, model=copy.deepcopy(loaded.model))
    collected = _Floats()
    settings = recipe.calibration or loaded.calibration
    text, _ = calibration_text(loaded, recipe, settings)
    without_cache = dataclasses.replace(recipe, kv_cache=None)
    reports = quantize_decoder(
        find_decoder(twin.model),
        without_cache,
        text,
        dataclasses.replace(settings, propagation="full-precision"),
        backend="auto",
        device_type=twin.device_type,
        progress=progress,
        journal=collected,
    )
    errors = {name: error for report in reports for name, error in report.linear_errors.items()}
    divergences = dict(_one_at_a_time(twin, loaded, collected.linears, sequences, progress))
    total = sum(divergences.values())
    if total <= 0:
        raise MeasurementError(f"{recipe.name!r} changes nothing on this text: there is no sensitivity to measure")
    return tuple(
        LayerSensitivity(
            name=name,
            kl=kl,
            share=kl / total,
            relative_error=errors.get(name),
            num_weights=collected.linears[name].weight.numel(),
            num_bits=_args(recipe, name).weights.num_bits,
        )
        for name, kl in divergences.items()
    )


def _args(recipe: Recipe, name: str) -> LayerArgs:
    args = recipe.layer_args(name)
    assert args is not None, "an ignored layer is not quantized, so it is never asked about"
    return args


def _one_at_a_time(
    twin: LoadedModel,
    reference: LoadedModel,
    floats: dict[str, nn.Linear],
    sequences: Sequence[Sequence[int]],
    progress: Progress,
) -> Iterator[tuple[str, float]]:
    quantized = {name: twin.model.get_submodule(name) for name in floats}
    for name, linear in floats.items():
        twin.model.set_submodule(name, linear)
    with progress("one layer at a time", len(floats)) as advance, torch.inference_mode():
        for name, layer in quantized.items():
            twin.model.set_submodule(name, layer)
            yield name, max(0.0, compare_logits(twin, reference, sequences)["kl"])
            twin.model.set_submodule(name, floats[name])
            advance(1)


def mix_precision(
    loaded: LoadedModel,
    recipe: Recipe,
    layers: Sequence[LayerSensitivity],
    sequences: Sequence[Sequence[int]],
    *,
    better: QuantArgs,
    budget_bits: float,
    progress: Progress = silent,
) -> MixedPrecision:
    """Give ``better`` weights to the layers that gain most for each bit, within a budget of bits a weight on average.

    Inputs follow the weights where the recipe quantizes them. Raises UsageError for a budget below what the recipe
    takes already, or above what better weights everywhere would take.
    """
    total = sum(layer.num_weights for layer in layers)
    start = sum(layer.num_weights * layer.num_bits for layer in layers) / total
    if not start <= budget_bits <= better.num_bits:
        raise UsageError(
            f"a budget of {budget_bits} bits is not between the {start:.2f} that {recipe.name!r} takes and the"
            f" {better.num_bits} of the better setting"
        )
    chosen: list[LayerSensitivity] = []
    spent = start
    for layer in sorted(layers, key=lambda layer: -layer.kl / layer.num_weights):
        cost = layer.num_weights * (better.num_bits - layer.num_bits) / total
        if cost > 0 and spent + cost <= budget_bits + 1e-9:
            chosen.append(layer)
            spent += cost
    if not chosen:
        raise RecipeError(f"within {budget_bits} bits not one layer can be made better; give a larger budget")
    mixed = _overridden(recipe, (layer.name for layer in chosen), better, spent)
    measured = compare_logits(quantize(loaded, mixed, progress=progress), loaded, sequences)["kl"]
    kept = {layer.name for layer in chosen}
    return MixedPrecision(
        recipe=mixed,
        effective_bits=spent,
        predicted_kl=sum(layer.kl for layer in layers if layer.name not in kept),
        measured_kl=measured,
    )


def _overridden(recipe: Recipe, names: Iterable[str], better: QuantArgs, bits: float) -> Recipe:
    inputs = recipe.input_activations
    if inputs is not None and inputs.num_bits < better.num_bits:
        inputs = dataclasses.replace(inputs, num_bits=better.num_bits, clip_ratio=1.0)
    override = Override(targets=tuple(sorted(names)), weights=better, input_activations=inputs)
    return dataclasses.replace(
        recipe,
        name=f"{recipe.name}-mixed-{bits:.2f}",
        description=f"{recipe.name}, {better.num_bits}-bit weights where they count most: {bits:.2f} bits a weight.",
        overrides=(override, *recipe.overrides),
    )


def comparison_text(loaded: LoadedModel) -> list[list[int]]:
    """Return the text that layers are compared on: of the model's own calibration set, drawn by another seed.

    Where that set is one fixed text it is the text of the benchmark ``text-fidelity``, which calibration never sees.
    """
    args = loaded.calibration
    if args.dataset != "python-docs":
        other = dataclasses.replace(args, seed=args.seed + 1, num_samples=min(args.num_samples, NUM_COMPARED))
        drawn: list[list[int]] = registry.calibration[args.dataset].token_sequences(loaded, other)
        return drawn
    benchmark = registry.benchmarks["text-fidelity"]
    sequences: list[list[int]] = benchmark.token_sequences(loaded.tokenizer, benchmark.load().samples)
    return sequences
