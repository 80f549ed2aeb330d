"""That a decoder layer computes what its description says, step by step, seen by running a hollow one."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from quantguard.errors import ModelError
from quantguard.modeling.block import Block
from quantguard.modeling.descriptions import Role
from quantguard.modeling.hollow import Materials
from quantguard.modeling.layer_inputs import BESIDE, LayerCall
from quantguard.modeling.structure import window_of

# How much larger than 1 linears' outputs are, where it is looked whether something clips them.
LARGE = 1e3
# What a window is set to while it is looked at: shorter than the text, so that it shows.
WINDOW = 3
# Float32, with sums of up to some ten thousand terms in another order; what is not the same differs by far more.
_TOLERANCE = 1e-4
_PROBE = "quantguard_probe"
# What an attention function may be given: the rest changes what it computes.
_HARMLESS = ("dropout", "scaling", "sliding_window", "is_causal", *BESIDE)


@dataclasses.dataclass(slots=True)
class _Attended:
    """What an attention layer hands to its cache and its attention function."""

    cached: list[tuple[torch.Tensor, torch.Tensor]] = dataclasses.field(default_factory=list)
    calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]] = dataclasses.field(
        default_factory=list
    )
    output: torch.Tensor | None = None

    def attend(self, _module: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, **kwargs: Any) -> Any:
        """Be the attention function: what is computed does not matter, the layer has to hand it on as it is."""
        self.calls.append((q, k, v, {**kwargs, "attention_mask": mask}))
        self.output = (q * q.mean() + v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)).transpose(1, 2).contiguous()
        return self.output, None

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_args: Any, **_kwargs: Any) -> Any:
        """Be the cache: return copies, which the attention function has to be given."""
        self.cached.append((keys.clone(), values.clone()))
        return self.cached[-1]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A layer that was run: on what, what it returned, and what its linears, which have ``names`` in it, did."""

    block: Block
    config: Any
    beside: dict[str, Any]
    hidden: torch.Tensor
    output: Any
    attended: _Attended
    names: dict[Role, str]
    reads: dict[Role, torch.Tensor]
    returns: dict[Role, torch.Tensor]


def require_block(block: Block, call: LayerCall, config: Any, materials: Materials) -> None:
    """Run a layer and raise ModelError naming the first part that does something else than described."""
    for gain in (1.0, LARGE):
        _require_run(block, call, config, materials, gain=gain)


def _require_run(block: Block, call: LayerCall, config: Any, materials: Materials, *, gain: float) -> None:
    # Large, as for the norms alone.
    hidden, attended = 30 * materials.normal(*call.hidden.shape), _Attended()
    names = block.description.linears
    linears: dict[Role, Any] = {role: block.linear(role) for role in names}
    for linear in linears.values():
        linear.gain = gain
        linear.calls.clear()
    output = _output(block, hidden, call.beside, attended, config)
    once = ((f"{names[role]} is not run once", len(linear.calls) == 1) for role, linear in linears.items())
    _require(block, once)
    reads, returns = ({role: linear.calls[0][side] for role, linear in linears.items()} for side in (0, 1))
    run = _Run(
        block=block,
        config=config,
        beside=call.beside,
        hidden=hidden,
        output=output,
        attended=attended,
        names=names,
        reads=reads,
        returns=returns,
    )
    _require(block, _attention_facts(run))
    _require(block, _layer_facts(run))


def _require(block: Block, facts: Iterable[tuple[str, bool]]) -> None:
    """Raise ModelError for the first of some facts, each said as what would be wrong, that does not hold."""
    for wrong, holds in facts:
        if not holds:
            raise ModelError(f"{block.name} is a {type(block.layer).__name__} in which {wrong}")


def _output(block: Block, hidden: torch.Tensor, beside: dict[str, Any], attended: _Attended, config: Any) -> Any:
    before = config._attn_implementation  # noqa: SLF001 - transformers has no public getter
    ALL_ATTENTION_FUNCTIONS.register(_PROBE, attended.attend)
    config._attn_implementation = _PROBE  # noqa: SLF001
    try:
        return block.layer(hidden, **{**beside, "past_key_values": attended})
    finally:
        config._attn_implementation = before  # noqa: SLF001


def _attention_facts(run: _Run) -> Iterator[tuple[str, bool]]:
    block, attended, names = run.block, run.attended, run.names
    attention, described = block.attention, block.description
    norm: Any = block.norms.attention
    for role in ("q", "k", "v"):
        wrong = f"{names[role]} does not read {described.norms['attention']}(x)"
        yield wrong, same(run.reads[role], rms_norm(run.hidden, norm.weight))
    module = described.attention.attribute
    yield f"{module} does not call its attention function once", len(attended.calls) == 1
    yield f"{module} does not hand keys and values to its cache once", len(attended.cached) == 1
    queries, keys, values, given = attended.calls[0]
    cached = attended.cached[0]
    yield "keys or values change between cache and attention", keys is cached[0] and values is cached[1]
    by_head = run.returns["v"].unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
    yield f"values are not those of {names['v']}", same(values, by_head)
    heads = [(count, attention.head_dim) for count in (attention.num_heads, attention.num_key_value_heads)]
    found = [(x.shape[1], x.shape[3]) for x in (queries, keys)]
    yield "queries or keys are not head_dim wide in every head", found == heads
    causal = given.get("is_causal") in (None, True) and getattr(attention.module, "is_causal", True)
    yield "attention is not causal", bool(causal)
    strange = sorted(key for key, value in given.items() if key not in _HARMLESS and is_given(value))
    yield f"attention is given {', '.join(strange)}, which quantguard does not know", not strange
    same_mask = equal(given["attention_mask"], run.beside["attention_mask"])
    yield "attention is given another mask than the layer", same_mask
    windows = (None, None if window_of(run.config) is None else WINDOW)
    yield "attention is given another sliding_window than config.json has", given.get("sliding_window") in windows
    assert attended.output is not None
    yield f"{names['o']} does not read what attention returns", same(run.reads["o"], attended.output.flatten(2))


def _layer_facts(run: _Run) -> Iterator[tuple[str, bool]]:
    described, names = run.block.description, run.names
    norm: Any = run.block.norms.mlp
    multiplier = float(getattr(run.block.layer, "residual_multiplier", 1.0))
    times = "" if multiplier == 1 else f"{multiplier:g} "
    attention, mlp = described.attention.attribute, described.mlp.attribute
    middle = run.hidden + multiplier * run.returns["o"]
    for role in ("gate", "up"):
        wrong = f"{names[role]} does not read {described.norms['mlp']}(x + {times}{attention}(...))"
        yield wrong, same(run.reads[role], rms_norm(middle, norm.weight))
    gated = _activation(run.config)(run.returns["gate"]) * run.returns["up"]
    gate, up = (described.mlp.linears[role] for role in ("gate", "up"))
    wrong = f"{names['down']} does not read {_activation_name(run.config)}({gate}(x)) * {up}(x)"
    yield wrong, same(run.reads["down"], gated)
    expected = middle + multiplier * run.returns["down"]
    wrong = f"the output is not x + {times}{attention}(...) + {times}{mlp}(...)"
    yield wrong, isinstance(run.output, torch.Tensor) and same(run.output, expected)


def _activation_name(config: Any) -> str:
    name = getattr(config, "hidden_act", None) or getattr(config, "hidden_activation", None)
    if not isinstance(name, str) or name not in ACT2FN:
        raise ModelError(f"hidden_act of {config.model_type} is {name!r}, and names no activation that is known")
    return name


def _activation(config: Any) -> nn.Module:
    activation: nn.Module = ACT2FN[_activation_name(config)]
    return activation


def rms_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return ``weight * x / rms(x)`` for float ``[..., hidden_size]``, without an epsilon."""
    return weight * x * x.square().mean(dim=-1, keepdim=True).rsqrt()


def is_given(value: Any) -> bool:
    """Tell whether an argument says anything."""
    return value is not None and value is not False


def equal(one: Any, other: Any) -> bool:
    """Tell whether two arguments are the same tensors, alone or in tuples, or both absent."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return one is None and other is None


def same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Tell whether two tensors are one but for the order of sums."""
    if found.shape != expected.shape:
        return False
    return bool((found - expected).norm() <= _TOLERANCE * expected.norm())
