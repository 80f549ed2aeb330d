"""Finding the parts of a decoder by their description, so that Llama, Qwen2, Qwen3 and their kin need no list.

Every module that holds weights, every parameter and every buffer has to be one of the parts; one that is not is refused
by its name. That the parts are also put together as described is looked at by :mod:`quantguard.modeling.behaviour`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from quantguard.errors import ModelError, RecipeError
from quantguard.modeling import descriptions
from quantguard.modeling.descriptions import (
    BLOCKS,
    CORE,
    EMBEDDING,
    FINAL_NORM,
    HEAD,
    HEAD_WEIGHT,
    ROTARY,
    BlockDescription,
    GroupDescription,
    GroupName,
    NormRole,
    PartDescription,
    Role,
    block_name,
)
from quantguard.modeling.module_parts import (
    SUPPORTED,
    child,
    require_accounted,
    require_kind,
    require_norm,
    require_parameters,
)
from quantguard.records.quantization import matches

# What quantguard itself puts into an attention layer.
_OWN = "extension"
# Fields that sound like windows, and what they say is looked at or has no part in attention.
_WINDOWS = ("sliding_window", "max_window_layers", "chunk_size_feed_forward")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearGroup:
    """Linear layers that read one input.

    They are looked up in ``parent`` whenever they are asked for, so a layer that was replaced is found.

    Attributes:
        name: what the group is called in its description.
        prefix: the full name of the module that holds the linears.
        parts: what that module calls them.
        parent: the module that holds the linears.
        layer: the decoder layer, which holds the norm in front.
        norm_name: what the layer calls the norm in front; None where none feeds the linears.

    """

    name: GroupName
    prefix: str
    parts: tuple[str, ...]
    parent: nn.Module
    layer: nn.Module
    norm_name: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The full names of the linears."""
        return tuple(f"{self.prefix}.{part}" for part in self.parts)

    @property
    def linears(self) -> tuple[nn.Linear, ...]:
        """The linears as they are now."""
        return tuple(getattr(self.parent, part) for part in self.parts)

    @property
    def norm(self) -> nn.Module | None:
        """The norm in front, if there is one."""
        return None if self.norm_name is None else getattr(self.layer, self.norm_name)

    @property
    def in_features(self) -> int:
        """The width of the shared input."""
        return next(iter(self.linears)).in_features


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The self-attention of a block; its linears are looked up whenever they are asked for.

    Attributes:
        name: its full name.
        module: the module itself.
        description: what it calls its parts.

    """

    name: str
    module: nn.Module
    description: PartDescription

    @property
    def q(self) -> nn.Linear:
        """The linear of queries."""
        return self.linear("q")

    @property
    def k(self) -> nn.Linear:
        """The linear of keys."""
        return self.linear("k")

    @property
    def v(self) -> nn.Linear:
        """The linear of values."""
        return self.linear("v")

    @property
    def o(self) -> nn.Linear:
        """The linear of the output."""
        return self.linear("o")

    @property
    def head_dim(self) -> int:
        """The width of a head."""
        return int(self.module.head_dim)  # type: ignore[arg-type]

    @property
    def num_heads(self) -> int:
        """The number of query heads."""
        return self.o.in_features // self.head_dim

    @property
    def num_key_value_heads(self) -> int:
        """The number of key and value heads."""
        return self.k.out_features // self.head_dim

    def linear(self, role: Role) -> nn.Linear:
        """Return the linear of a role as it is now."""
        return getattr(self.module, self.description.linears[role])  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MLP:
    """The gated MLP of a block; its linears are looked up whenever they are asked for.

    Attributes:
        name: its full name.
        module: the module itself.
        description: what it calls its parts.

    """

    name: str
    module: nn.Module
    description: PartDescription

    @property
    def gate(self) -> nn.Linear:
        """The linear behind which the activation is."""
        return self.linear("gate")

    @property
    def up(self) -> nn.Linear:
        """The linear that the gate is multiplied with."""
        return self.linear("up")

    @property
    def down(self) -> nn.Linear:
        """The linear of the output."""
        return self.linear("down")

    def linear(self, role: Role) -> nn.Linear:
        """Return the linear of a role as it is now."""
        return getattr(self.module, self.description.linears[role])  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Norms:
    """The norms of a block by what they are in front of.

    Attributes:
        layer: the decoder layer that holds them.
        attributes: what it calls them, by role.

    """

    layer: nn.Module
    attributes: Mapping[NormRole, str]

    @property
    def attention(self) -> nn.Module:
        """The norm in front of attention."""
        return self.of("attention")

    @property
    def mlp(self) -> nn.Module:
        """The norm in front of the MLP."""
        return self.of("mlp")

    def of(self, role: NormRole) -> nn.Module:
        """Return the norm of a role as it is now, with an online transform behind it where one was put there."""
        return getattr(self.layer, self.attributes[role])  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One decoder layer by the names of its parts.

    Attributes:
        name: its full name.
        layer: the module itself.
        description: what it calls its parts.
        attention: the self-attention.
        mlp: the MLP.
        norms: the norms in front of the two.
        groups: its linears by the input that they read, in the order in which they run.

    """

    name: str
    layer: nn.Module
    description: BlockDescription
    attention: Attention
    mlp: MLP
    norms: Norms
    groups: Mapping[GroupName, LinearGroup]

    @classmethod
    def of(cls, name: str, layer: nn.Module, description: BlockDescription) -> "Block":
        """Return a layer that has been found to have all parts of its description."""

        def group(described: GroupDescription) -> LinearGroup:
            part = description.part_of(next(iter(described.roles)))
            return LinearGroup(
                name=described.name,
                prefix=f"{name}.{part.attribute}",
                parts=tuple(part.linears[role] for role in described.roles),
                parent=getattr(layer, part.attribute),
                layer=layer,
                norm_name=None if described.norm is None else description.norms[described.norm],
            )

        attention, mlp = description.attention, description.mlp
        return cls(
            name=name,
            layer=layer,
            description=description,
            attention=Attention(
                name=f"{name}.{attention.attribute}",
                module=getattr(layer, attention.attribute),
                description=attention,
            ),
            mlp=MLP(name=f"{name}.{mlp.attribute}", module=getattr(layer, mlp.attribute), description=mlp),
            norms=Norms(layer=layer, attributes=description.norms),
            groups={described.name: group(described) for described in description.groups},
        )

    @property
    def linears(self) -> dict[str, nn.Linear]:
        """All linears by full name, in the order in which they run."""
        return {
            name: linear
            for group in self.groups.values()
            for name, linear in zip(group.names, group.linears, strict=True)
        }

    def linear(self, role: Role) -> nn.Linear:
        """Return the linear of a role as it is now."""
        return (self.attention if role in self.description.attention.linears else self.mlp).linear(role)

    def linear_name(self, role: Role) -> str:
        """Return the full name of the linear of a role."""
        return f"{self.name}.{self.description.linears[role]}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A causal language model as embedding, blocks, final norm and head."""

    model: Any
    blocks: Sequence[Block]

    @property
    def embedding(self) -> nn.Embedding:
        """The table of token embeddings."""
        table: nn.Embedding = self.model.get_submodule(EMBEDDING)
        return table

    @property
    def norm(self) -> nn.Module:
        """The norm in front of the head."""
        norm: nn.Module = self.model.get_submodule(FINAL_NORM)
        return norm

    @property
    def head(self) -> nn.Linear:
        """The linear layer from hidden states to logits."""
        head: nn.Linear = self.model.get_submodule(HEAD)
        return head

    @property
    def ends(self) -> dict[str, nn.Module]:
        """Embedding, final norm and head by name."""
        return {EMBEDDING: self.embedding, FINAL_NORM: self.norm, HEAD: self.head}

    @property
    def logit_scale(self) -> float:
        """What the head's output is multiplied by: Granite divides it."""
        return 1.0 / float(getattr(self.model.config, "logits_scaling", None) or 1.0)

    @property
    def hidden_size(self) -> int:
        """The width of the residual stream."""
        return self.embedding.embedding_dim

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self.embedding.weight.dtype

    def untie(self) -> None:
        """Give the head a weight of its own where it shares the embedding's: what changes one must not change both."""
        if self.head.weight is self.embedding.weight:
            self.head.weight = nn.Parameter(self.embedding.weight.detach().clone())
        self.model.config.tie_word_embeddings = False


def find_decoder(model: Any) -> Decoder:
    """Return the parts of a causal language model; raise ModelError naming what is not supported."""
    core = getattr(model, CORE, None)
    layers = getattr(core, _attribute(BLOCKS), None)
    if not isinstance(core, nn.Module) or not isinstance(layers, nn.ModuleList) or not len(layers):
        raise ModelError(f"{type(model).__name__} has no decoder layers at {BLOCKS}; {SUPPORTED}")
    window_of(model.config)
    _require_ends(model, core)
    blocks = tuple(find_block(block_name(index), layer) for index, layer in enumerate(layers))
    _require_own_weights(model)
    return Decoder(model=model, blocks=blocks)


def window_of(config: Any) -> int | None:
    """Return how many tokens back every layer of a model attends, itself included; None where it sees them all.

    Raises ModelError where layers differ in that, or a field of the configuration limits attention in another way.
    """
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - {"full_attention"}:
        raise ModelError(
            f"{config.model_type} has layers of type {', '.join(sorted(kinds - {'full_attention'}))} in layer_types,"
            " which are not supported; only full attention is, or one sliding_window for all layers"
        )
    for name, value in config.to_dict().items():
        limits = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if limits and ("window" in name or "chunk" in name) and name not in _WINDOWS:
            raise ModelError(f"{config.model_type} has {name} = {value}, which quantguard does not know; {SUPPORTED}")
    window = None if kinds else getattr(config, "sliding_window", None)
    return None if window is None else int(window)


def _attribute(name: str) -> str:
    """Return what a module calls one of its children by the child's full name."""
    return name.rpartition(".")[2]


def _require_ends(model: nn.Module, core: nn.Module) -> None:
    """Raise ModelError where a model has anything beside embedding, layers, final norm, rotary angles and head."""
    kind = type(model).__name__
    embedding, norm = _attribute(EMBEDDING), _attribute(FINAL_NORM)
    for parent, name, part in ((core, CORE, embedding), (core, CORE, norm), (model, kind, HEAD)):
        child(parent, name, part)
    require_kind(core, CORE, embedding, nn.Embedding)
    require_kind(model, kind, HEAD, nn.Linear)
    require_accounted(model, kind, (CORE, HEAD))
    require_accounted(core, CORE, tuple(map(_attribute, (EMBEDDING, BLOCKS, FINAL_NORM, ROTARY))))
    require_norm(core, CORE, norm)
    require_parameters(child(core, CORE, embedding), EMBEDDING, ("weight",))
    require_parameters(child(model, kind, HEAD), HEAD, ("weight", "bias"))


def _require_own_weights(model: nn.Module) -> None:
    """Raise ModelError where two places share a parameter, but for embedding and head: one cannot change alone."""
    seen: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = seen.setdefault(id(parameter), name)
        if name not in (first, HEAD_WEIGHT):
            raise ModelError(f"{name} and {first} are one parameter; only embedding and head may share theirs")


def find_blocks(model: Any) -> Sequence[Block]:
    """Return the decoder layers of a causal language model; raise ModelError naming what is not supported."""
    return find_decoder(model).blocks


def quantizable_linears(blocks: Sequence[Block], ignore: tuple[str, ...]) -> dict[str, nn.Linear]:
    """Return the linears to quantize by full name, leaving out those that match a pattern of ``ignore``.

    Raises RecipeError where nothing is left.
    """
    linears = {name: linear for block in blocks for name, linear in block.linears.items()}
    kept = {name: linear for name, linear in linears.items() if not matches(name, ignore)}
    if not kept:
        raise RecipeError(f"ignore = {list(ignore)} leaves none of {len(linears)} linear layers to quantize")
    return kept


def find_block(name: str, layer: nn.Module) -> Block:
    """Return the parts of a decoder layer by the first description that it meets.

    Raises ModelError naming what is not supported; where it meets none, that is what the first one does not know.
    """
    refusals = []
    for description in descriptions.DESCRIPTIONS:
        try:
            _require_parts(name, layer, description)
        except ModelError as refusal:
            refusals.append(refusal)
        else:
            return Block.of(name, layer, description)
    raise refusals[0]


def _require_parts(name: str, layer: nn.Module, description: BlockDescription) -> None:
    """Raise ModelError for a part of the description that a layer lacks, and for what it has besides."""
    attention, mlp = description.attention, description.mlp
    child(layer, name, attention.attribute)
    _require_gated(name, child(layer, name, mlp.attribute), mlp)
    norms = tuple(description.norms.values())
    require_accounted(layer, name, (attention.attribute, mlp.attribute, *norms))
    for norm in norms:
        require_norm(layer, name, norm)
    for part, own in ((attention, (_OWN,)), (mlp, ())):
        _require_linears(f"{name}.{part.attribute}", child(layer, name, part.attribute), part, own)
    module = child(layer, name, attention.attribute)
    if not isinstance(getattr(module, "head_dim", None), int):
        raise ModelError(f"{name}.{attention.attribute} is a {type(module).__name__} without head_dim; {SUPPORTED}")


def _require_gated(name: str, module: nn.Module, mlp: PartDescription) -> None:
    gate, up, down = (mlp.linears[role] for role in ("gate", "up", "down"))
    if not isinstance(getattr(module, gate, None), nn.Linear):
        raise ModelError(
            f"{name}.{mlp.attribute} is a {type(module).__name__} without a float {gate}; a gated MLP of {gate}, {up}"
            f" and {down} is supported, a mixture of experts is not"
        )


def _require_linears(name: str, module: nn.Module, part: PartDescription, own: tuple[str, ...]) -> None:
    """Raise ModelError where a module's linears are not those of its description, or anything is beside them.

    ``own`` is what quantguard itself may have put there.
    """
    require_accounted(module, name, (*part.linears.values(), *part.norms, *own))
    for linear in part.linears.values():
        require_kind(module, name, linear, nn.Linear)
        require_parameters(child(module, name, linear), f"{name}.{linear}", ("weight", "bias"))
    for norm in part.norms:
        if getattr(module, norm, None) is not None:
            require_norm(module, name, norm)
