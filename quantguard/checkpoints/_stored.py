"""What a format says of a checkpoint: which tensors there should be, and how they become ours."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch

from quantguard.modeling import Block, Decoder
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.modeling.descriptions import HEAD
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.records import Defect, LayerArgs, Recipe

FLOATS = ("BF16", "F16", "F32")


@dataclasses.dataclass(frozen=True, slots=True)
class Values:
    """What the values of a tensor have to be, in words and as a mask of those that are."""

    rule: str
    hold: Callable[[torch.Tensor], torch.Tensor]


FINITE = Values("values are finite", torch.isfinite)
POSITIVE = Values("a scale is positive and finite", lambda scale: torch.isfinite(scale) & (scale > 0))


def within(low: int, high: int) -> Values:
    """Return the rule of integers from ``low`` to ``high``."""
    return Values(f"integers are from {low} to {high}", lambda values: (values >= low) & (values <= high))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a tensor has to be: one of some types as safetensors spells them, a shape, and what its values are.

    ``bulk`` tensors are the integers of weights: their values are looked at when the model is loaded, not when it is
    only checked.
    """

    dtypes: tuple[str, ...]
    shape: tuple[int, ...]
    values: Values | None = None
    bulk: bool = False
    optional: bool = False


class StoredCheckpoint(Protocol):
    """A quantized checkpoint on disk in one format, its configuration read and none of its tensors."""

    @property
    def path(self) -> pathlib.Path:
        """The folder."""

    @property
    def config(self) -> Any:
        """The configuration of the float model, as transformers has it."""

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type that the model runs in."""

    @property
    def recipe(self) -> Recipe:
        """How it was quantized, as far as the format says; the name says the format and the bits."""

    @property
    def tensors(self) -> TensorFiles:
        """Its tensors."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of how it was read."""

    def defects(self) -> Iterable[Defect]:
        """Find what breaks a rule of the format that is not of one tensor, without reading values."""

    def warnings(self) -> Iterable[Defect]:
        """Find what is well defined and what some programs nevertheless refuse or read otherwise."""

    def end_specs(self, decoder: Decoder) -> dict[str, Spec]:
        """Return what embedding, final norm and head have to be, by the names that they are stored under."""

    def block_specs(self, block: Block) -> dict[str, Spec]:
        """Return what the tensors of a block have to be, whose modules hold no weights."""

    def decode(self, block: Block, stored: Tensors) -> tuple[BlockState, Tensors]:
        """Turn a block's tensors into what :func:`quantguard.modeling.block_state.restore_block` takes."""


def fused_apart(blocks: Iterable[Block], args_of: Callable[[str], LayerArgs | None], *, file: str) -> Iterator[Defect]:
    """Find linears that ``file`` gives different settings although programs that serve put them into one matrix.

    What such a checkpoint is, is well defined, and transformers runs it; vLLM, SGLang and vLLM-Ascend refuse it.
    """
    for block in blocks:
        for group in block.groups.values():
            first, *others = group.names
            wanted = args_of(first)
            for name in others:
                args = args_of(name)
                if args != wanted:
                    rule = f"it is {told(args)} and {group.parts[0]} is {told(wanted)}; programs that serve fuse them"
                    yield Defect(file=file, tensor=name, rule=rule)


def told(args: LayerArgs | None) -> str:
    """Say the settings of a linear in a few words."""
    if args is None:
        return "float"
    weights, inputs = args.weights, args.input_activations
    kind = "symmetric" if weights.symmetric else "asymmetric"
    groups = f"groups of {weights.group_size}" if weights.group_size else "one group"
    said = f"{kind} {weights.num_bits} bits in {groups}"
    if inputs is None:
        return said
    return f"{said}, inputs in {inputs.num_bits} bits with {'dynamic' if inputs.dynamic else 'fixed'} scales"


def float_end_specs(decoder: Decoder) -> dict[str, Spec]:
    """Return the specs of float ends; a head that is tied may be stored or not."""
    tied = bool(decoder.model.config.tie_word_embeddings)
    return {
        f"{prefix}.{name}": Spec(
            dtypes=FLOATS,
            shape=tuple(tensor.shape),
            values=FINITE,
            optional=tied and prefix == HEAD,
        )
        for prefix, module in decoder.ends.items()
        for name, tensor in module.state_dict().items()
    }


def float_specs(block: Block, quantized: Iterable[str]) -> dict[str, Spec]:
    """Return the specs of what stays float in a block: norms, biases, and linears that are not ``quantized``."""
    weights = {f"{name}.weight" for name in quantized}
    tensors = {f"{block.name}.{name}": tensor for name, tensor in block.layer.state_dict().items()}
    return {
        name: Spec(dtypes=FLOATS, shape=tuple(tensor.shape), values=FINITE)
        for name, tensor in tensors.items()
        if name not in weights
    }
