"""A checkpoint of AscendV1 on disk: its description, the rules of its tensors, and how they become ours."""

import dataclasses
import functools
import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

from quantguard.checkpoints._stored import Spec, float_end_specs, float_specs
from quantguard.checkpoints.ascend.decoding import BlockDecoder
from quantguard.checkpoints.ascend.description import (
    FILE,
    VERSION,
    Description,
    folder_defects,
    is_by_older_writer,
    older_description,
    weight_index,
)
from quantguard.checkpoints.ascend.schemes import CACHE, FLATQUANT, FLOAT, KV_CACHE, TYPES, cache_specs, linear_specs
from quantguard.errors import ModelError
from quantguard.modeling import Block, Decoder, find_decoder
from quantguard.modeling.block import LinearGroup
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.modeling.configuration import read_config
from quantguard.modeling.descriptions import HEAD
from quantguard.modeling.streaming import skeleton
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.records import Defect, Override, Recipe


class AscendCheckpoint:
    """A checkpoint on disk, its description and headers read."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        if not (path / FILE).is_file():
            raise ModelError(
                f"{older_description(path)} is the description of an older msModelSlim (version 0.0.0), whose types"
                f" are named in it and mean other tensors; that is not supported. vLLM-Ascend and quantguard read"
                f" {FILE} of version {VERSION}: quantize the model with msModelSlim 26.1"
            )
        self.config: Any = read_config(path)
        stored = getattr(self.config, "dtype", None)
        self._named = stored if isinstance(stored, torch.dtype) else None
        self.dtype = self._named or torch.bfloat16
        if getattr(self.config, "quantization_config", None) is not None:
            del self.config.quantization_config
        self.description = Description(path)
        if not self.description.quantizes_anything():
            raise ModelError(f"{path / FILE}: every tensor is {FLOAT}; that is no quantized checkpoint")
        self.description.require_supported(path)
        self.tensors = TensorFiles(path, index=weight_index(path))
        self._notes: list[str] = []
        if self.dtype == torch.float32:
            self._notes.append(
                "config.json says float32, and scales are as they are stored; vLLM-Ascend runs another type, and rounds"
                " them to that"
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What vLLM-Ascend would do otherwise than the file says, as far as it has been read."""
        return tuple(self._notes)

    @functools.cached_property
    def _blocks(self) -> tuple[Block, ...]:
        return tuple(find_decoder(skeleton(self.config, self.dtype)).blocks)

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The settings of the most frequent type; the others are overrides."""
        kinds = {name: self.description.type_of(name) or FLOAT for block in self._blocks for name in block.linears}
        counted = Counter(kind for kind in kinds.values() if kind in TYPES).most_common()
        if not counted:
            raise ModelError(f"{self.path / FILE}: no linear of a decoder layer is quantized, and nothing else can be")
        main = counted[0][0]
        overrides = tuple(
            Override(
                targets=tuple(name for name, found in kinds.items() if found == kind),
                weights=TYPES[kind].weights,
                input_activations=TYPES[kind].input_activations,
            )
            for kind, _ in counted[1:]
        )
        cache = self.description.quantizes_cache
        return Recipe(
            name="-".join(["ascend", *(k.lower().replace("_", "-") for k, _ in counted), *([CACHE.lower()] * cache)]),
            weights=TYPES[main].weights,
            input_activations=TYPES[main].input_activations,
            kv_cache=KV_CACHE if cache else None,
            ignore=(HEAD, *(name for name, kind in kinds.items() if kind == FLOAT)),
            overrides=overrides,
        )

    def defects(self) -> Iterator[Defect]:
        """Find what contradicts the description, in the files, in it and beside it."""
        yield from folder_defects(self.path, self._named)
        yield from self.description.defects(self.tensors)
        linears = {name for block in self._blocks for name in block.linears}
        for name, kind in self.description.types.items():
            if kind in TYPES and name.endswith(".weight") and name.removesuffix(".weight") not in linears:
                yield Defect(file=FILE, tensor=name, rule=f"its type is {kind!r} and has to be {FLOAT}")
        for block in self._blocks:
            yield from self.description.mixed_groups(block, transformed=True)
        if self.description.quantizes_cache and is_by_older_writer(self.tensors.index):
            keys = next(name for name in self.description.types if ".kv_cache_" in name)
            yield Defect(
                file=FILE,
                tensor=keys,
                rule="msModelSlim's older writer, which named these files, scales keys before RoPE, not behind",
            )

    def warnings(self) -> Iterator[Defect]:
        """Find linears that vLLM-Ascend loads as one, and refuses for their types."""
        for block in self._blocks:
            yield from self.description.mixed_groups(block, transformed=False)

    def end_specs(self, decoder: Decoder) -> dict[str, Spec]:
        """Return the specs of embedding, norm and head, which is always stored."""
        return {name: dataclasses.replace(spec, optional=False) for name, spec in float_end_specs(decoder).items()}

    def block_specs(self, block: Block) -> dict[str, Spec]:
        """Return the specs of a block's tensors by the types in the description."""
        kinds = {name: self.description.type_of(name) for name in block.linears}
        quantized = {name: kind for name, kind in kinds.items() if kind in TYPES}
        odd = {
            name
            for name, kind in kinds.items()
            if kind not in (*TYPES, FLOAT) and f"{name}.weight" in self.tensors.entries
        }
        specs = float_specs(block, [*quantized, *odd])
        for name in odd:
            specs |= self._as_they_are(name)
        for group in block.groups.values():
            for name in group.names:
                if name in quantized:
                    specs |= self._linear_specs(block, group, name, quantized[name] or FLOAT)
        for name in (block.linear_name("k"), block.linear_name("v")):
            if any(other.startswith(f"{block.name}.") and ".kv_cache_" in other for other in self.description.types):
                channels = block.attention.num_key_value_heads * block.attention.head_dim
                specs |= {f"{name}.{part}": spec for part, spec in cache_specs(channels).items()}
        return specs

    def _linear_specs(self, block: Block, group: LinearGroup, name: str, kind: str) -> dict[str, Spec]:
        has_right = f"{name}.right_trans" in self.description.types or group is not block.groups["o"]
        found = linear_specs(
            kind,
            name=name,
            out_features=block.linears[name].out_features,
            in_features=group.in_features,
            num_heads=block.attention.num_heads,
            has_right=has_right or kind != FLATQUANT,
            dtype=self.dtype,
        )
        return {f"{name}.{part}": spec for part, spec in found.items()}

    def _as_they_are(self, linear: str) -> dict[str, Spec]:
        """Return specs that a linear of an unknown type meets: its type is the defect, not its tensors."""
        mine = {n: entry for n, entry in self.tensors.entries.items() if n.rpartition(".")[0] == linear}
        return {n: Spec(dtypes=(entry.dtype,), shape=entry.shape) for n, entry in mine.items()}

    def decode(self, block: Block, stored: Tensors) -> tuple[BlockState, Tensors]:
        """Turn a block's tensors into ours; raise ModelError where two of them contradict each other."""
        files = {name: entry.file for name, entry in self.tensors.entries.items()}
        return BlockDecoder(
            path=self.path,
            files=files,
            description=self.description,
            dtype=self.dtype,
            block=block,
            stored=stored,
            notes=self._notes,
        ).decode()
