"""Finding the parts of a decoder by their structure, so that Llama, Qwen2 and their kin need no list."""

import dataclasses
import fnmatch

from torch import nn

from quantguard.errors import ModelError, RecipeError

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearGroup:
    """Linear layers that share one input: their full names and the norm that feeds them, if one does."""

    names: tuple[str, ...]
    linears: tuple[nn.Linear, ...]
    norm: nn.Module | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One decoder layer as its groups of linears, in the order in which they run: qkv, o, gate and up, down."""

    name: str
    groups: tuple[LinearGroup, ...]


def find_blocks(model: nn.Module) -> list[Block]:
    """Return the decoder layers of a causal language model; raise ModelError naming what is not supported."""
    layers = getattr(getattr(model, "model", None), "layers", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        raise ModelError(
            f"{type(model).__name__} has no decoder layers at model.layers; supported: Llama, Qwen2 and their kin"
        )
    return [_block(f"model.layers.{index}", layer) for index, layer in enumerate(layers)]


def quantizable_linears(blocks: list[Block], ignore: tuple[str, ...]) -> dict[str, nn.Linear]:
    """Return the linears to quantize by full name, leaving out those that match a pattern of ``ignore``.

    A pattern is a full name, its last part or a shell pattern. Raises RecipeError where nothing is left.
    """
    linears = {
        name: linear
        for block in blocks
        for group in block.groups
        for name, linear in zip(group.names, group.linears, strict=True)
    }
    kept = {name: linear for name, linear in linears.items() if not any(_matches(name, p) for p in ignore)}
    if not kept:
        raise RecipeError(f"ignore = {list(ignore)} leaves none of {len(linears)} linear layers to quantize")
    return kept


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or name.rpartition(".")[2] == pattern


def _block(name: str, layer: nn.Module) -> Block:
    attention, mlp = _child(layer, name, "self_attn"), _child(layer, name, "mlp")
    if not isinstance(getattr(mlp, "gate_proj", None), nn.Linear):
        raise ModelError(f"{name}.mlp is a {type(mlp).__name__}; a gated MLP is supported, a mixture of experts is not")
    if getattr(attention, "sinks", None) is not None:
        raise ModelError(f"{name}.self_attn has attention sinks, which are not supported")
    if hasattr(layer, "pre_feedforward_layernorm"):
        raise ModelError(f"{name} is a {type(layer).__name__} with norms around its MLP, which is not supported")
    q, k, v, o = (_linear(attention, f"{name}.self_attn", part) for part in _ATTENTION)
    gate, up, down = (_linear(mlp, f"{name}.mlp", part) for part in _MLP)
    return Block(
        name=name,
        groups=(
            _group(f"{name}.self_attn", _ATTENTION[:3], (q, k, v), _child(layer, name, "input_layernorm")),
            _group(f"{name}.self_attn", _ATTENTION[3:], (o,), None),
            _group(f"{name}.mlp", _MLP[:2], (gate, up), _child(layer, name, "post_attention_layernorm")),
            _group(f"{name}.mlp", _MLP[2:], (down,), None),
        ),
    )


def _group(prefix: str, parts: tuple[str, ...], linears: tuple[nn.Linear, ...], norm: nn.Module | None) -> LinearGroup:
    return LinearGroup(names=tuple(f"{prefix}.{part}" for part in parts), linears=linears, norm=norm)


def _child(parent: nn.Module, name: str, part: str) -> nn.Module:
    child = getattr(parent, part, None)
    if not isinstance(child, nn.Module):
        raise ModelError(f"{name} is a {type(parent).__name__} without {part}; supported: Llama, Qwen2 and their kin")
    return child


def _linear(parent: nn.Module, name: str, part: str) -> nn.Linear:
    child = _child(parent, name, part)
    if not isinstance(child, nn.Linear):
        raise ModelError(
            f"{name}.{part} is a {type(child).__name__}, not a float Linear: is the model quantized already?"
        )
    return child
