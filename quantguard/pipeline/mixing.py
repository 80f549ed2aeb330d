"""Mixed precision: better settings for the linears that gain most for each bit, within a budget."""

import dataclasses
from collections.abc import Iterable, Sequence

from quantguard.errors import RecipeError, UsageError
from quantguard.modeling import LoadedModel, find_decoder
from quantguard.modeling.comparing import compare_logits
from quantguard.pipeline.progress import Progress, silent
from quantguard.pipeline.quantizing import quantize
from quantguard.pipeline.sensitivity import PartSensitivity
from quantguard.records import Override, QuantArgs, Recipe


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


def mix_precision(
    loaded: LoadedModel,
    recipe: Recipe,
    linears: Sequence[PartSensitivity],
    sequences: Sequence[Sequence[int]],
    *,
    better: QuantArgs,
    budget_bits: float,
    progress: Progress = silent,
) -> MixedPrecision:
    """Give ``better`` weights to the linears that gain most for each bit, within a budget of bits a weight on average.

    Linears that read one input, and that servers put into one matrix, get them together or not at all. Inputs follow
    the weights where the recipe quantizes them. Raises UsageError for a budget below what the recipe
    takes already, or above what better weights everywhere would take.
    """
    total = sum(linear.num_weights for linear in linears)
    start = sum(linear.num_weights * linear.num_bits for linear in linears) / total
    if not start <= budget_bits <= better.num_bits:
        raise UsageError(
            f"a budget of {budget_bits} bits is not between the {start:.2f} that {recipe.name!r} takes and the"
            f" {better.num_bits} of the better setting"
        )
    chosen: list[PartSensitivity] = []
    spent = start
    for together in sorted(_fused(loaded, linears), key=_gain_for_each_weight, reverse=True):
        cost = sum(part.num_weights * (better.num_bits - part.num_bits) for part in together) / total
        if cost > 0 and spent + cost <= budget_bits + 1e-9:
            chosen.extend(together)
            spent += cost
    if not chosen:
        raise RecipeError(
            f"within {budget_bits} bits no linears that are served as one can be made better; give a larger budget"
        )
    mixed = _overridden(recipe, (linear.name for linear in chosen), better, spent)
    measured = compare_logits(quantize(loaded, mixed, progress=progress), loaded, sequences)["kl"]
    kept = {linear.name for linear in chosen}
    return MixedPrecision(
        recipe=mixed,
        effective_bits=spent,
        predicted_kl=sum(linear.kl for linear in linears if linear.name not in kept),
        measured_kl=measured,
    )


def _fused(loaded: LoadedModel, linears: Sequence[PartSensitivity]) -> list[list[PartSensitivity]]:
    """Return linears that programs that serve put into one matrix side by side: q, k and v, or gate and up."""
    by_name = {linear.name: linear for linear in linears}
    groups = [group.names for block in find_decoder(loaded.model).blocks for group in block.groups.values()]
    return [found for names in groups if (found := [by_name[name] for name in names if name in by_name])]


def _gain_for_each_weight(together: Sequence[PartSensitivity]) -> float:
    return sum(part.kl for part in together) / sum(part.num_weights for part in together)


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
