"""Finding the parts of a decoder by their structure, so that Llama, Qwen2, Qwen3 and their kin need no list.

Every module that holds weights, every parameter and every buffer has to be one of the parts; one that is not is refused
by its name. That the parts are also put together as described is looked at by :mod:`quantguard.modeling.behaviour`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from quantguard.errors import ModelError, RecipeError
from quantguard.modeling.module_parts import (
    SUPPORTED,
    child,
    require_accounted,
    require_kind,
    require_norm,
    require_parameters,
)
from quantguard.records.quantization import matches

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
_NORMS = ("input_layernorm", "post_attention_layernorm")
# Norms of queries and keys, and what quantguard itself puts there.
_BESIDE_ATTENTION = ("q_norm", "k_norm", "extension")
# Fields that sound like windows, and what they say is looked at or has no part in attention.
_WINDOWS = ("sliding_window", "max_window_layers", "chunk_size_feed_forward")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearGroup:
    """Linear layers that share one input.

    They are looked up in ``parent`` whenever they are asked for, so a layer that was replaced is found. ``layer`` and
    ``norm_name`` say where the norm in front is, if one feeds them.
    """

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
        return self.linears[0].in_features


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One decoder layer as its groups of linears, in the order in which they run: qkv, o, gate and up, down."""

    name: str
    layer: nn.Module
    groups: tuple[LinearGroup, LinearGroup, LinearGroup, LinearGroup]
    head_dim: int

    @property
    def attention(self) -> nn.Module:
        """The self-attention module."""
        return self.groups[0].parent

    @property
    def num_heads(self) -> int:
        """The number of query heads."""
        return self.groups[1].in_features // self.head_dim

    @property
    def num_key_value_heads(self) -> int:
        """The number of key and value heads."""
        return self.groups[0].linears[1].out_features // self.head_dim

    @property
    def linears(self) -> dict[str, nn.Linear]:
        """All linears by full name, in the order in which they run."""
        return {name: linear for group in self.groups for name, linear in zip(group.names, group.linears, strict=True)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A causal language model as embedding, blocks, final norm and head."""

    model: Any
    blocks: Sequence[Block]

    @property
    def embedding(self) -> nn.Embedding:
        """The table of token embeddings."""
        table: nn.Embedding = self.model.model.embed_tokens
        return table

    @property
    def norm(self) -> nn.Module:
        """The norm in front of the head."""
        norm: nn.Module = self.model.model.norm
        return norm

    @property
    def head(self) -> nn.Linear:
        """The linear layer from hidden states to logits."""
        head: nn.Linear = self.model.lm_head
        return head

    @property
    def ends(self) -> dict[str, nn.Module]:
        """Embedding, final norm and head by name."""
        return {"model.embed_tokens": self.embedding, "model.norm": self.norm, "lm_head": self.head}

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
    kind, core = type(model).__name__, getattr(model, "model", None)
    layers = getattr(core, "layers", None)
    if not isinstance(core, nn.Module) or not isinstance(layers, nn.ModuleList) or not len(layers):
        raise ModelError(f"{kind} has no decoder layers at model.layers; {SUPPORTED}")
    window_of(model.config)
    _require_ends(model, core)
    blocks = tuple(find_block(f"model.layers.{index}", layer) for index, layer in enumerate(layers))
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


def _require_ends(model: nn.Module, core: nn.Module) -> None:
    """Raise ModelError where a model has anything beside embedding, layers, final norm, rotary angles and head."""
    kind = type(model).__name__
    for parent, name, part in ((core, "model", "embed_tokens"), (core, "model", "norm"), (model, kind, "lm_head")):
        child(parent, name, part)
    require_kind(core, "model", "embed_tokens", nn.Embedding)
    require_kind(model, kind, "lm_head", nn.Linear)
    require_accounted(model, kind, ("model", "lm_head"))
    require_accounted(core, "model", ("embed_tokens", "layers", "norm", "rotary_emb"))
    require_norm(core, "model", "norm")
    require_parameters(child(core, "model", "embed_tokens"), "model.embed_tokens", ("weight",))
    require_parameters(child(model, kind, "lm_head"), "lm_head", ("weight", "bias"))


def _require_own_weights(model: nn.Module) -> None:
    """Raise ModelError where two places share a parameter, but for embedding and head: one cannot change alone."""
    seen: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = seen.setdefault(id(parameter), name)
        if name not in (first, "lm_head.weight"):
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
    """Return the parts of a decoder layer; raise ModelError naming what is not supported."""
    attention, mlp = child(layer, name, "self_attn"), child(layer, name, "mlp")
    if not isinstance(getattr(mlp, "gate_proj", None), nn.Linear):
        raise ModelError(
            f"{name}.mlp is a {type(mlp).__name__} without a float gate_proj; a gated MLP of gate_proj, up_proj and"
            " down_proj is supported, a mixture of experts is not"
        )
    require_accounted(layer, name, ("self_attn", "mlp", *_NORMS))
    for norm in _NORMS:
        require_norm(layer, name, norm)
    for parent, path, parts in ((attention, "self_attn", _ATTENTION), (mlp, "mlp", _MLP)):
        require_accounted(parent, f"{name}.{path}", (*parts, *(_BESIDE_ATTENTION if parent is attention else ())))
        for part in parts:
            require_kind(parent, f"{name}.{path}", part, nn.Linear)
            require_parameters(child(parent, f"{name}.{path}", part), f"{name}.{path}.{part}", ("weight", "bias"))
    for norm in ("q_norm", "k_norm"):
        if getattr(attention, norm, None) is not None:
            require_norm(attention, f"{name}.self_attn", norm)
    if not isinstance(getattr(attention, "head_dim", None), int):
        raise ModelError(f"{name}.self_attn is a {type(attention).__name__} without head_dim; {SUPPORTED}")

    def group(parent: nn.Module, prefix: str, parts: tuple[str, ...], norm_name: str | None) -> LinearGroup:
        return LinearGroup(prefix=f"{name}.{prefix}", parts=parts, parent=parent, layer=layer, norm_name=norm_name)

    return Block(
        name=name,
        layer=layer,
        groups=(
            group(attention, "self_attn", _ATTENTION[:3], "input_layernorm"),
            group(attention, "self_attn", _ATTENTION[3:], None),
            group(mlp, "mlp", _MLP[:2], "post_attention_layernorm"),
            group(mlp, "mlp", _MLP[2:], None),
        ),
        head_dim=int(attention.head_dim),  # type: ignore[arg-type]
    )
