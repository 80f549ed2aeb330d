"""What is not exported to AscendV1, and why: what it has no place for, and what vLLM-Ascend is known to mishandle."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping

from quantguard.checkpoints.ascend.schemes import (
    FLATQUANT,
    NUM_SPLITS,
    OUTPUT_INPUT,
    PACKED,
    STATIC,
    TYPES,
    kronecker_sizes,
)
from quantguard.errors import ModelError, UnknownNameError
from quantguard.modeling import Block
from quantguard.modeling.block import LinearGroup
from quantguard.modeling.block_state import BlockState
from quantguard.records import LayerArgs, QuantArgs, Recipe

# By the names that `--force` takes.
REFUSALS = {
    "dense-w4a8": (
        "vLLM-Ascend has no W4A8 for dense models; releases that had it multiplied without quantizing the activations"
        " and left the bias out"
    ),
    "o-proj-flatquant": (
        "it has a left matrix over its heads alone, the right one being folded into the values, and vLLM-Ascend"
        " makes room for a pair that multiplies to its width"
    ),
    "per-linear-clips": (
        "linears that are loaded as one have clipping ratios of their own, and vLLM-Ascend takes the last one's for all"
    ),
    "tensor-parallel": (
        "vLLM-Ascend factors the width of a linear that it splits anew for every part, and the matrices of FlatQuant"
        " are those of the whole width"
    ),
}
_EXPORTABLE = "W8A8 static, W8A8 per token, W8A16, W4A8 and W4A4 per token, weights symmetric with a scale a channel"


def require_known(forced: Collection[str]) -> None:
    """Raise UnknownNameError for a name that is no refusal."""
    for name in forced:
        if name not in REFUSALS:
            raise UnknownNameError("refusal", name, REFUSALS)


def unless_forced(name: str, where: str, forced: Collection[str]) -> None:
    """Raise ModelError with the reason of a refusal, unless it is forced."""
    if name not in forced:
        raise ModelError(f"{where}: {REFUSALS[name]}. To write it nevertheless type --force {name}")


def type_name(name: str, args: LayerArgs, *, transformed: bool) -> str:
    """Return the type of a quantized linear; raise ModelError where there is none for its settings.

    ``transformed`` says whether a transform runs on its input.
    """
    weights, activations = args.weights, args.input_activations
    if weights.type != "int" or weights.strategy != "channel" or not weights.symmetric:
        kind = "symmetric" if weights.symmetric else "asymmetric"
        found = f"{weights.type}, {weights.num_bits} bits, {kind}, strategy {weights.strategy!r}"
        raise ModelError(f"{name}: AscendV1 has no type for its weight ({found}); possible: {_EXPORTABLE}")
    for kind, known in TYPES.items():
        if weights.num_bits == known.num_bits and _same(activations, known.input_activations):
            if not transformed and kind != FLATQUANT:
                _require_whole_range(name, kind, activations)
                return kind
            if transformed and kind == FLATQUANT:
                return kind
    bits = f"W{weights.num_bits}A{activations.num_bits if activations else 16}"
    online = " behind an online transform, which only W4A4 can have" if transformed else ""
    raise ModelError(f"{name}: AscendV1 has no type for {bits}{online}; possible: {_EXPORTABLE}")


def check_recipe(recipe: Recipe, forced: Collection[str]) -> None:
    """Raise ModelError for a recipe whose settings alone rule its result out."""
    own = [recipe.layer_args(target) for override in recipe.overrides for target in override.targets]
    for args in (LayerArgs(weights=recipe.weights, input_activations=recipe.input_activations), *own):
        if args is None:
            continue
        activations = args.input_activations
        may_have_clips = "flatquant" in recipe.transforms or "hadamard" in recipe.transforms
        if may_have_clips and activations is not None and args.weights.num_bits == activations.num_bits == 4:
            type_name(f"recipe {recipe.name!r}", args, transformed=True)
        elif type_name(f"recipe {recipe.name!r}", args, transformed=False) == PACKED:
            unless_forced("dense-w4a8", f"recipe {recipe.name!r}", forced)
    if recipe.kv_cache is not None:
        check_cache(f"recipe {recipe.name!r}", recipe.kv_cache)


def _same(found: QuantArgs | None, known: QuantArgs | None) -> bool:
    if found is None or known is None:
        return found is known
    return (found.num_bits, found.strategy, found.symmetric) == (known.num_bits, known.strategy, known.symmetric)


def _require_whole_range(name: str, kind: str, activations: QuantArgs | None) -> None:
    """Refuse a clipping ratio that nothing keeps; a static scale has it in it."""
    if kind != STATIC and activations is not None and activations.clip_ratio != 1.0:
        raise ModelError(
            f"{name}: its input is clipped to {activations.clip_ratio:g} of its range, and AscendV1 keeps a clipping"
            " ratio with FlatQuant alone; leave clip_ratio out of the recipe"
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """What becomes of a block in AscendV1, by its settings and the shapes of its tensors alone.

    ``forced`` are names of ``REFUSALS``; ``shapes`` are by the names that quantguard has for tensors.
    """

    block: Block
    state: BlockState
    shapes: Mapping[str, tuple[int, ...]]
    forced: Collection[str] = ()
    tensor_parallel_size: int = 1

    def refusals(self) -> Iterator[str]:
        """Find what cannot be written, or is not read as it is meant."""
        for group in self.block.groups.values():
            try:
                self._check_group(group)
            except ModelError as error:
                yield str(error)
        if self.state.kv_cache is not None:
            try:
                check_cache(self.block.attention.name, self.state.kv_cache)
            except ModelError as error:
                yield str(error)
        for name in sorted(self.shapes.keys() - self._placed()):
            if ".extension." in name or "input_transform" in name:
                yield f"{name}: AscendV1 has no place for this transform; take a recipe without it"

    def kinds(self, group: LinearGroup) -> tuple[str | None, ...]:
        """Return the types of the linears of a group, None for those that stay float; raise ModelError for others."""
        transformed = any(self.factor_sizes(group))
        args = [(name, self.state.linears.get(name)) for name in group.names]
        return tuple(None if a is None else type_name(name, a, transformed=transformed) for name, a in args)

    def factor_names(self, group: LinearGroup) -> tuple[str, str]:
        """Return what left and right matrix of the transform of a group's input are called, where there are any."""
        norm = group.norm_name
        owner = group.names[0] if norm is None else f"{self.block.name}.{norm}"
        return f"{owner}.input_transform.left", f"{owner}.input_transform.right"

    def factor_sizes(self, group: LinearGroup) -> tuple[int, int]:
        """Return the sizes of the two matrices, 0 for one that is not there."""
        left, right = (self.shapes.get(name, (0,))[0] for name in self.factor_names(group))
        return left, right

    def clips(self, group: LinearGroup) -> dict[str, float]:
        """Return the clipping ratio of every linear's input."""
        taken = {name: self.state.linears.get(name) for name in group.names}
        inputs = {name: None if args is None else args.input_activations for name, args in taken.items()}
        return {name: 1.0 if args is None else args.clip_ratio for name, args in inputs.items()}

    def _placed(self) -> set[str]:
        """Return the names of transforms and cache scales that there is a place for."""
        placed = {name for group in self.block.groups.values() for name in self.factor_names(group)}
        if self.state.kv_cache is not None:
            prefix = f"{self.block.attention.name}.extension"
            placed |= {f"{prefix}.{which}.scale" for which in ("keys", "values")}
        return placed

    def _check_group(self, group: LinearGroup) -> None:
        """Raise ModelError where the linears of a group cannot be loaded together."""
        kinds, sizes = self.kinds(group), self.factor_sizes(group)
        if any(sizes) and set(kinds) == {None}:
            return
        if len(set(kinds)) > 1:
            told = ", ".join(f"{part} {kind or 'FLOAT'}" for part, kind in zip(group.parts, kinds, strict=True))
            raise ModelError(
                f"{group.prefix}: linears that are loaded as one have to be of one type, and are {told}; give them the"
                " same settings in the recipe"
            )
        if kinds[0] == PACKED:
            _check_packed(self.block, group)
            unless_forced("dense-w4a8", group.prefix, self.forced)
        if kinds[0] is not None and TYPES[kinds[0]].num_bits == 4 and group.in_features % 8:
            raise ModelError(f"{group.prefix}: {group.in_features} inputs; vLLM-Ascend packs 4-bit weights by eights")
        if kinds[0] == FLATQUANT:
            if len(set(self.clips(group).values())) > 1:
                unless_forced("per-linear-clips", group.prefix, self.forced)
            if self.tensor_parallel_size > 1:
                where = f"{group.prefix}, split in {self.tensor_parallel_size}"
                unless_forced("tensor-parallel", where, self.forced)
            _check_factors(self.block, group, sizes, self.forced)


def _check_packed(block: Block, group: LinearGroup) -> None:
    splits = NUM_SPLITS if group.parts[0] in OUTPUT_INPUT else 1
    if group.in_features % splits or any(block.linears[name].out_features % 2 for name in group.names):
        raise ModelError(f"{group.prefix}: W4A8 packs outputs in pairs, and sums behind heads and gates in 16 parts")


def _check_factors(block: Block, group: LinearGroup, found: tuple[int, int], forced: Collection[str]) -> None:
    expected = kronecker_sizes(group.in_features)
    if found == expected:
        return
    if group is block.groups["o"] and found == (block.attention.num_heads, 0):
        unless_forced("o-proj-flatquant", f"{group.prefix}.{group.parts[0]}", forced)
        return
    raise ModelError(
        f"{group.prefix}: its online transform has matrices of sizes {found[0]} and {found[1]}, and vLLM-Ascend makes"
        f" room for {expected[0]} and {expected[1]}"
        if expected
        else f"{group.prefix}: vLLM-Ascend cannot factor its width {group.in_features}"
    )


def check_cache(name: str, args: QuantArgs) -> None:
    """Raise ModelError for a cache that C8 is not: 8 bits, a fixed scale a channel, no zero point."""
    if (args.num_bits, args.strategy, args.symmetric) != (8, "channel", True):
        kind = "symmetric" if args.symmetric else "asymmetric"
        raise ModelError(
            f"{name}: its cache has {args.num_bits} bits, strategy {args.strategy!r}, {kind}; AscendV1 has C8 alone,"
            " and vLLM-Ascend leaves offsets in what it reads: 8 bits, strategy 'channel', symmetric, or no kv_cache"
        )
