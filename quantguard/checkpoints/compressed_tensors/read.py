"""A checkpoint of compressed-tensors on disk, and how its tensors become ours."""

import copy
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import torch

from quantguard.checkpoints._stored import FLOATS, POSITIVE, Spec, float_end_specs, float_specs, fused_apart, within
from quantguard.checkpoints.compressed_tensors import config as ct_config
from quantguard.checkpoints.compressed_tensors.tensors import decode_linear, linear_specs
from quantguard.modeling import Block, Decoder, find_decoder
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.modeling.descriptions import HEAD
from quantguard.modeling.streaming import skeleton
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.records import Defect, LayerArgs, LayerReport, Override, QuantArgs, Recipe

_CACHE = {"k": "keys", "v": "values"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressedTensors:
    """A checkpoint of this format, its tensors not read yet."""

    path: pathlib.Path
    config: Any
    scheme: ct_config.Scheme
    tensors: TensorFiles

    @property
    def notes(self) -> tuple[str, ...]:
        """Say where inputs have zero points, which no recipe asks for."""
        inputs = [scheme.args.input_activations for _, scheme in self.scheme.groups]
        shifted = any(args is not None and not args.symmetric for args in inputs)
        return ("static activations have zero points",) if shifted else ()

    @property
    def dtype(self) -> torch.dtype:
        """The type that config.json names."""
        return torch.float32 if self.config.dtype is None else self.config.dtype

    @property
    def recipe(self) -> Recipe:
        """The settings of the groups: the one for most layers, others as overrides by their targets."""
        (_, first), *rest = sorted(self.scheme.groups, key=lambda group: "Linear" not in group[0])
        return Recipe(
            name=f"{ct_config.METHOD}-{bits(first.args, self.scheme.kv_cache)}",
            rounding="as-stored",
            weights=first.args.weights,
            input_activations=_symmetric(first.args.input_activations),
            kv_cache=self.scheme.kv_cache,
            ignore=self.scheme.ignore,
            overrides=tuple(
                Override(
                    targets=targets,
                    weights=s.args.weights,
                    input_activations=_symmetric(s.args.input_activations),
                )
                for targets, s in rest
            ),
        )

    def defects(self) -> Iterator[Defect]:
        """Find a head that is quantized."""
        head = self.scheme.of_linear(HEAD)
        if head is not None:
            yield Defect(file="config.json", tensor=HEAD, rule="a quantized head is not built; ignore has to name it")

    def warnings(self) -> Iterator[Defect]:
        """Find linears that programs that serve put into one matrix, and that have different settings."""

        def args_of(name: str) -> LayerArgs | None:
            scheme = self.scheme.of_linear(name)
            return None if scheme is None else scheme.args

        yield from fused_apart(find_decoder(skeleton(self.config, self.dtype)).blocks, args_of, file="config.json")

    def end_specs(self, decoder: Decoder) -> dict[str, Spec]:
        """Return the specs of float ends."""
        return float_end_specs(decoder)

    def block_specs(self, block: Block) -> dict[str, Spec]:
        """Return what the tensors of a block have to be."""
        schemes = self._schemes(block)
        specs = float_specs(block, schemes)
        for name, scheme in schemes.items():
            specs |= linear_specs(name, scheme, _shape(block, name))
        if self.scheme.kv_cache is not None:
            heads = (block.attention.num_key_value_heads, 1, 1) if self.scheme.kv_per_head else (1,)
            integers = within(self.scheme.kv_cache.minimum, self.scheme.kv_cache.maximum)
            for which in _CACHE:
                prefix = f"{block.attention.name}.{which}"
                specs[f"{prefix}_scale"] = Spec(dtypes=FLOATS, shape=heads, values=POSITIVE)
                if not self.scheme.kv_cache.symmetric:
                    specs[f"{prefix}_zero_point"] = Spec(dtypes=("I8", "I32"), shape=heads, values=integers)
        return specs

    def decode(self, block: Block, stored: Tensors) -> tuple[BlockState, Tensors]:
        """Turn a block's tensors into ours."""
        schemes, left = self._schemes(block), copy.copy(stored)
        ours: Tensors = {}
        for name, scheme in schemes.items():
            shape = _shape(block, name)
            decoded = decode_linear(name, scheme, shape, left)
            for key in (*linear_specs(name, scheme, shape), *decoded):
                left.pop(key, None)
            ours |= decoded
        for which, whole in _CACHE.items() if self.scheme.kv_cache is not None else ():
            for key in ("scale", "zero_point"):
                tensor = left.pop(f"{block.attention.name}.{which}_{key}", None)
                if tensor is not None:
                    ours[f"{block.attention.name}.extension.{whole}.{key}"] = _per_channel(tensor, key, block)
        state = BlockState(
            linears={name: scheme.args for name, scheme in schemes.items()},
            kv_cache=self.scheme.kv_cache,
            report=LayerReport(name=block.name),
        )
        return state, ours | left

    def _schemes(self, block: Block) -> dict[str, ct_config.LinearScheme]:
        found = {name: self.scheme.of_linear(name) for name in block.linears}
        return {name: scheme for name, scheme in found.items() if scheme is not None}


def _symmetric(args: QuantArgs | None) -> QuantArgs | None:
    """Leave out of the recipe that inputs have zero points, which it has no word for; a note has it."""
    return None if args is None else dataclasses.replace(args, symmetric=True)


def _shape(block: Block, name: str) -> tuple[int, int]:
    linear = block.linears[name]
    return linear.out_features, linear.in_features


def _per_channel(values: torch.Tensor, key: str, block: Block) -> torch.Tensor:
    typed = values.float() if key == "scale" else values.to(torch.int32)
    return typed.view(-1, 1, 1).expand(block.attention.num_key_value_heads, 1, block.attention.head_dim).contiguous()


def bits(args: LayerArgs, kv_cache: QuantArgs | None) -> str:
    """Say settings in short, such as ``w4a16``, ``w8a8kv8`` or ``w8a8-static``."""
    inputs = args.input_activations
    short = f"w{args.weights.num_bits}a{16 if inputs is None else inputs.num_bits}"
    short += "" if kv_cache is None else f"kv{kv_cache.num_bits}"
    return short if inputs is None or inputs.dynamic else f"{short}-static"
