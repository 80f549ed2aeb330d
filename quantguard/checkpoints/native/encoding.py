"""A block of ours as it lies in a folder of ours: as compressed-tensors has it, and beside it what that cannot say."""

import torch

from quantguard.checkpoints._stored import FINITE, FLOATS, Spec, float_specs
from quantguard.checkpoints.compressed_tensors.config import LinearScheme, stored_as
from quantguard.checkpoints.compressed_tensors.tensors import decode_linear, encode_linear, linear_specs
from quantguard.modeling import Block
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.modeling.tensor_files import TensorEntry
from quantguard.records import LayerArgs

# What compressed-tensors has no name for is stored under this.
OWN_PREFIX = "quantguard."


def encode_block(empty: Block, state: BlockState, tensors: Tensors) -> Tensors:
    """Return the tensors to store of a block; ``empty`` is the same block of the float model, without weights."""
    left = dict(tensors)
    stored: Tensors = {}
    for name, scheme in schemes(state).items():
        stored |= encode_linear(name, scheme, _shape(empty, name), left)
        for key in ("weight_data", "weight_scale", "weight_zero_point", "input_scale"):
            left.pop(f"{name}.{key}", None)
    plain = {f"{empty.name}.{name}" for name in empty.layer.state_dict()}
    return stored | {name if name in plain else OWN_PREFIX + name: tensor for name, tensor in left.items()}


def decode_block(empty: Block, state: BlockState, stored: Tensors) -> Tensors:
    """Return a block's tensors as :func:`encode_block` was given them."""
    left = {name.removeprefix(OWN_PREFIX): tensor for name, tensor in stored.items()}
    tensors: Tensors = {}
    for name, scheme in schemes(state).items():
        shape = _shape(empty, name)
        tensors |= decode_linear(name, scheme, shape, left)
        for key in linear_specs(name, scheme, shape):
            left.pop(key, None)
    return tensors | left


def block_specs(empty: Block, state: BlockState, entries: dict[str, TensorEntry]) -> dict[str, Spec]:
    """Return what the stored tensors of a block have to be; of our own ones only that they are finite numbers."""
    found = schemes(state)
    own = {name: entry for name, entry in entries.items() if name.startswith(f"{OWN_PREFIX}{empty.name}.")}
    specs = float_specs(empty, found)
    norms = [f"{empty.name}.{norm}" for norm in empty.description.norms.values()]
    # A norm with an online transform behind it is one module further in.
    inner = {f"{norm}.norm.weight": f"{norm}.weight" for norm in norms}
    moved = {inner.get(name, name) for name in (stored.removeprefix(OWN_PREFIX) for stored in own)}
    specs = {name: spec for name, spec in specs.items() if name not in moved}
    for name, scheme in found.items():
        specs |= linear_specs(name, scheme, _shape(empty, name))
    own_types = (*FLOATS, "F64", "I32")
    return specs | {name: Spec(dtypes=own_types, shape=entry.shape, values=FINITE) for name, entry in own.items()}


def schemes(state: BlockState) -> dict[str, LinearScheme]:
    """Return how the linears of a block are stored that hold integers."""
    return {
        name: LinearScheme(args=args, packed=stored_as(args) == "pack-quantized")
        for name, args in state.linears.items()
        if args.weights.type == "int"
    }


def beyond_the_standard(empty: Block, state: BlockState, stored: Tensors) -> list[str]:
    """Say what of a block compressed-tensors cannot express, in words for who wants to load it without quantguard."""
    reasons = []
    if state.kv_cache is not None:
        scales = {"token": "one for each token and head", "channel": "one for each channel"}[state.kv_cache.strategy]
        reasons.append(f"scales of keys and values, {scales}")
    if any(name.startswith(OWN_PREFIX) and ".extension." not in name for name in stored):
        reasons.append("transforms that run with the model")
    if any(name.startswith(OWN_PREFIX) and "_transform" in name.rpartition(".")[2] for name in stored):
        reasons.append("transforms of queries and keys")
    for name, args in state.linears.items():
        reasons.extend(_beyond(args, empty.linears[name].in_features))
    return list(dict.fromkeys(reasons))


def _beyond(args: LayerArgs, in_features: int) -> list[str]:
    weights, inputs = args.weights, args.input_activations
    reasons = []
    if weights.type != "int":
        reasons.append(f"weights in {weights.type} codes")
    if weights.group_size is not None and in_features % weights.group_size:
        reasons.append(f"groups of {weights.group_size} that end in a shorter one")
    if inputs is not None and inputs.dynamic and inputs.clip_ratio != 1.0:
        reasons.append("activations that are clipped below their extremes")
    return reasons


def _shape(block: Block, name: str) -> tuple[int, int]:
    linear: torch.nn.Linear = block.linears[name]
    return linear.out_features, linear.in_features
