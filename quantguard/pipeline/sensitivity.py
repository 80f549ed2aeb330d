"""Where quantization hurts: what every decoder layer and every linear does to the whole, each quantized alone."""

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from quantguard import benchmarks, calibration
from quantguard.errors import MeasurementError
from quantguard.modeling import Activations, LoadedModel, find_decoder
from quantguard.modeling.comparing import compare_with, log_probabilities
from quantguard.pipeline.block_step import BlockStep
from quantguard.pipeline.float_law import FloatLaw
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.quantizing import Journal, calibration_text, quantize_decoder
from quantguard.records import Recipe

NUM_COMPARED = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PartSensitivity:
    """What quantizing one decoder layer, or one linear, does while all others stay float.

    kl: the mean divergence from full precision of the next-token distribution, nats. share: its part of the sum over
    all parts of its kind, 0..1. relative_error: ``||quantized - float||² / ||float||²`` of its own output on the same
    input, activations quantized as the recipe says. num_weights and num_bits: its size, and the bits of a weight.
    """

    name: str
    kl: float
    share: float
    relative_error: float
    num_weights: int
    num_bits: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The parts of a model in the order in which they run, and the divergence with all of them quantized."""

    layers: tuple[PartSensitivity, ...]
    linears: tuple[PartSensitivity, ...]
    kl: float


class _Floats(Journal):
    """Keeps the transformed float linears whose place was taken, by full name."""

    def __init__(self) -> None:
        self.linears: dict[str, nn.Linear] = {}

    def block_finished(self, step: BlockStep, activations: Activations | None, law: FloatLaw | None) -> None:
        del activations, law
        self.linears.update(step.floats)


def sensitivity(
    loaded: LoadedModel,
    recipe: Recipe,
    sequences: Sequence[Sequence[int]],
    *,
    progress: Progress = silent,
) -> Sensitivity:
    """Quantize one decoder layer, then one linear at a time, and compare with full precision on token ``sequences``.

    Transforms are in place throughout, so a part is judged as it would be in the quantized model, and the cache stays
    float. Raises MeasurementError where the recipe changes nothing on this text.
    """
    twin = dataclasses.replace(loaded, model=copy.deepcopy(loaded.model))
    floats = _quantize(twin, recipe, loaded, progress)
    expected = [log_probabilities(loaded, sequence) for sequence in sequences]
    probe = _Probe(twin, expected, sequences, floats)
    together = probe.divergence()
    probe.restore()
    held = {b.name: tuple(name for name in b.linears if name in floats) for b in find_decoder(twin.model).blocks}
    layers = {name: linears for name, linears in held.items() if linears}
    linears = {name: (name,) for name in floats}
    with progress("one part at a time", len(layers) + len(linears)) as advance:

        def measured(parts: Mapping[str, Sequence[str]]) -> tuple[PartSensitivity, ...]:
            found = []
            for name, members in parts.items():
                size, bits = _size(recipe, {member: floats[member] for member in members})
                kl, error = probe.alone(name, members)
                found.append(
                    PartSensitivity(
                        name=name, kl=kl, share=0.0, relative_error=error, num_weights=size, num_bits=bits / size
                    )
                )
                advance(1)
            return _with_shares(found, recipe)

        return Sensitivity(layers=measured(layers), linears=measured(linears), kl=together)


def _quantize(twin: LoadedModel, recipe: Recipe, loaded: LoadedModel, progress: Progress) -> dict[str, nn.Linear]:
    """Quantize a model in place, its blocks learned on the float network's activations; return the float linears."""
    collected = _Floats()
    settings = recipe.calibration or loaded.calibration
    text, _ = calibration_text(loaded, recipe, settings)
    quantize_decoder(
        find_decoder(twin.model),
        dataclasses.replace(recipe, kv_cache=None),
        text,
        dataclasses.replace(settings, propagation="full-precision"),
        backend="auto",
        device_type=twin.device_type,
        progress=progress,
        journal=collected,
    )
    return collected.linears


def _size(recipe: Recipe, linears: dict[str, nn.Linear]) -> tuple[int, int]:
    """Return how many weights some linears have, and how many bits those take when quantized."""
    bits = 0
    for name, linear in linears.items():
        args = recipe.layer_args(name)
        assert args is not None, "an ignored layer is not quantized, so it is never asked about"
        bits += linear.weight.numel() * args.weights.num_bits
    return sum(linear.weight.numel() for linear in linears.values()), bits


def _with_shares(parts: Sequence[PartSensitivity], recipe: Recipe) -> tuple[PartSensitivity, ...]:
    total = sum(part.kl for part in parts)
    if total <= 0:
        raise MeasurementError(f"{recipe.name!r} changes nothing on this text: there is no sensitivity to measure")
    return tuple(dataclasses.replace(part, share=part.kl / total) for part in parts)


class _Probe:
    """A model whose linears are swapped between float and quantized, beside what full precision makes of a text."""

    def __init__(
        self,
        twin: LoadedModel,
        expected: list[torch.Tensor],
        sequences: Sequence[Sequence[int]],
        floats: dict[str, nn.Linear],
    ) -> None:
        self._twin, self._expected, self._sequences, self._floats = twin, expected, sequences, floats
        self._quantized = {name: twin.model.get_submodule(name) for name in floats}

    def divergence(self) -> float:
        """Return the divergence from full precision of the model as it is, nats."""
        return max(0.0, compare_with(self._twin, self._expected, self._sequences)["kl"])

    def restore(self) -> None:
        """Put every float linear back."""
        self._swap(self._floats, self._floats)

    def alone(self, name: str, linears: Sequence[str]) -> tuple[float, float]:
        """Quantize some linears alone; return the divergence and the relative error of the module ``name``."""
        self._swap(linears, self._quantized)
        module = self._twin.model.get_submodule(name)
        error = total = 0.0

        def compare(_module: nn.Module, args: Any, kwargs: dict[str, Any], found: torch.Tensor) -> None:
            nonlocal error, total
            expected = self._float_output(name, linears, args, kwargs).double()
            error += float((found.double() - expected).square().sum())
            total += float(expected.square().sum())

        hook = module.register_forward_hook(compare, with_kwargs=True)
        try:
            divergence = self.divergence()
        finally:
            hook.remove()
            self._swap(linears, self._floats)
        return divergence, error / max(total, 1e-30)

    def _float_output(self, name: str, linears: Sequence[str], args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
        if linears == (name,):
            output: torch.Tensor = self._floats[name](*args, **kwargs)
            return output
        self._swap(linears, self._floats)
        # Its forward, not a call: the hook is on the call.
        output = self._twin.model.get_submodule(name).forward(*args, **kwargs)
        self._swap(linears, self._quantized)
        return output

    def _swap(self, names: Iterable[str], source: Mapping[str, nn.Module]) -> None:
        for name in names:
            self._twin.model.set_submodule(name, source[name])


def comparison_text(loaded: LoadedModel) -> list[list[int]]:
    """Return the text that layers are compared on: of the model's own calibration set, drawn by another seed.

    Where that set is one fixed text it is the text of the benchmark ``text-fidelity``, which calibration never sees.
    """
    args = loaded.calibration
    if args.dataset != "python-docs":
        other = dataclasses.replace(args, seed=args.seed + 1, num_samples=min(args.num_samples, NUM_COMPARED))
        return calibration.members[args.dataset].token_sequences(loaded, other)
    text = benchmarks.members.require("text-fidelity", benchmarks.Text)
    return text.token_sequences(loaded.tokenizer, benchmarks.members["text-fidelity"].load().samples)
