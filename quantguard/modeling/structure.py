"""Finding the parts of a decoder by their description, so that Llama, Qwen2, Qwen3 and their kin need no list.

Every module that holds weights, every parameter and every buffer has to be one of the parts; one that is not is refused
by its name. That the parts are also put together as described is looked at by :mod:`quantguard.modeling.behaviour`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from quantguard.errors import ModelError, RecipeError
from quantguard.modeling import descriptions
from quantguard.modeling.block import Block
from quantguard.modeling.descriptions import (
    BLOCKS,
    CORE,
    EMBEDDING,
    FINAL_NORM,
    HEAD,
    HEAD_WEIGHT,
    ROTARY,
    BlockDescription,
    PartDescription,
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
