"""A folder that quantguard quantized into, as a checkpoint to hold against rules."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import torch

from quantguard.checkpoints._stored import Spec, float_end_specs, fused_apart
from quantguard.checkpoints.native.encoding import block_specs
from quantguard.checkpoints.native.folder import OwnFolder
from quantguard.checkpoints.native.manifest import MANIFEST
from quantguard.modeling import Block, Decoder, find_decoder
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.modeling.streaming import skeleton
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.records import Defect, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnCheckpoint:
    """A folder of ours as a checkpoint to hold against rules."""

    folder: OwnFolder

    @property
    def path(self) -> pathlib.Path:
        """The folder."""
        return self.folder.path

    @property
    def config(self) -> Any:
        """The configuration of the float model."""
        return self.folder.config

    @property
    def dtype(self) -> torch.dtype:
        """The type that the model runs in."""
        return self.folder.dtype

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.folder.manifest.recipe

    @property
    def tensors(self) -> TensorFiles:
        """Its tensors."""
        return self.folder.tensors

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of the run that made it."""
        return self.folder.manifest.notes

    def defects(self) -> Iterator[Defect]:
        """Find nothing: what the rules of tensors do not say is in the hashes, which loading looks at."""
        yield from ()

    def warnings(self) -> Iterator[Defect]:
        """Find linears that programs that serve put into one matrix, and that have different settings."""
        args = {name: args for state in self.folder.manifest.blocks.values() for name, args in state.linears.items()}
        yield from fused_apart(find_decoder(skeleton(self.config, self.dtype)).blocks, args.get, file=MANIFEST)

    def end_specs(self, decoder: Decoder) -> dict[str, Spec]:
        """Return the specs of float ends."""
        return float_end_specs(decoder)

    def block_specs(self, block: Block) -> dict[str, Spec]:
        """Return what the stored tensors of a block have to be."""
        return block_specs(block, self.folder.state(block), self.tensors.entries)

    def decode(self, block: Block, stored: Tensors) -> tuple[BlockState, Tensors]:
        """Read a block; what is ``stored`` is read again, with what lies beside it."""
        del stored
        return self.folder.block(block)
