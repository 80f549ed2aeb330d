"""Finding the parts of a decoder by their structure, so that Llama, Qwen2, Qwen3 and their kin need no list."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from quantguard.errors import ModelError, RecipeError
from quantguard.records.quantization import matches

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
_SUPPORTED = "supported: Llama, Qwen2, Qwen3, openPangu-Embedded and their kin"


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
    layers = getattr(getattr(model, "model", None), "layers", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        raise ModelError(f"{type(model).__name__} has no decoder layers at model.layers; {_SUPPORTED}")
    sliding = set(getattr(model.config, "layer_types", None) or ()) - {"full_attention"}
    if sliding:
        raise ModelError(
            f"{type(model).__name__} has layers of type {', '.join(sorted(sliding))}, which are not supported;"
            " only full attention is"
        )
    blocks = tuple(find_block(f"model.layers.{index}", layer) for index, layer in enumerate(layers))
    return Decoder(model=model, blocks=blocks)


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
    attention, mlp = _child(layer, name, "self_attn"), _child(layer, name, "mlp")
    if not isinstance(getattr(mlp, "gate_proj", None), nn.Linear):
        raise ModelError(f"{name}.mlp is a {type(mlp).__name__}; a gated MLP is supported, a mixture of experts is not")
    if getattr(attention, "sinks", None) is not None:
        raise ModelError(f"{name}.self_attn has attention sinks, which are not supported")
    if hasattr(layer, "pre_feedforward_layernorm"):
        raise ModelError(f"{name} is a {type(layer).__name__} with norms around its MLP, which is not supported")
    for parent, parts in ((attention, _ATTENTION), (mlp, _MLP)):
        for part in parts:
            _require_linear(parent, f"{name}.{'mlp' if parent is mlp else 'self_attn'}", part)
    for norm in ("input_layernorm", "post_attention_layernorm"):
        _child(layer, name, norm)

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


def _child(parent: nn.Module, name: str, part: str) -> nn.Module:
    child = getattr(parent, part, None)
    if not isinstance(child, nn.Module):
        raise ModelError(f"{name} is a {type(parent).__name__} without {part}; {_SUPPORTED}")
    return child


def _require_linear(parent: nn.Module, name: str, part: str) -> None:
    child = _child(parent, name, part)
    if not isinstance(child, nn.Linear):
        raise ModelError(
            f"{name}.{part} is a {type(child).__name__}, not a float Linear: is the model quantized already?"
        )
