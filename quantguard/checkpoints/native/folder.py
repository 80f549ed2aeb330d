"""quantguard's own folder: everything that a recipe makes of a model, a decoder layer a file.

Linears are stored as compressed-tensors has them. Where that says all there is, the folder is of that format, its files
are called ``model-00001-of-000NN.safetensors``, and whoever loads the format loads it. Where it does not, the rest lies
under ``quantguard.…`` and files and method are called ``quantguard``: transformers would load a folder of
``model*.safetensors`` with random weights in the place of what it does not know, and only warn.

``quantguard.json``, written last, says where the model comes from, how every block was quantized, and has the hash of
every file.
"""

import pathlib

import torch

from quantguard.checkpoints.native.encoding import OWN_PREFIX, decode_block
from quantguard.checkpoints.native.manifest import MANIFEST, read_manifest
from quantguard.devices import device_type
from quantguard.errors import ModelError
from quantguard.kernels import torch_device
from quantguard.modeling import Block, LoadedModel, require_described
from quantguard.modeling.block_state import BlockState, Tensors, restore_block
from quantguard.modeling.configuration import read_config, read_generation_config
from quantguard.modeling.loading import emulated
from quantguard.modeling.streaming import fill_ends, skeleton
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.modeling.tokenizer_files import load_tokenizer
from quantguard.records.codec import digest


class OwnFolder:
    """A finished folder of ours, opened; its blocks are read when they are asked for.

    ``decoder`` holds no weights. With ``hashes`` every file is held against the manifest. Raises ModelError where a
    file is missing or is not what was written.
    """

    def __init__(self, path: pathlib.Path, *, hashes: bool = True) -> None:
        self.path = path
        self.manifest = read_manifest(path, hashes=hashes)
        self.config = read_config(path)
        del self.config.quantization_config
        self.dtype: torch.dtype = getattr(torch, self.manifest.dtype)
        self.decoder = require_described(skeleton(self.config, self.dtype))
        self.tensors = TensorFiles(path, index=self.manifest.index)
        if unsigned := sorted(self.tensors.files - set(self.manifest.files)):
            raise ModelError(
                f"{path / unsigned[0]} holds weights, and {MANIFEST} has no hash of it. Quantize the model again."
            )

    def state(self, block: Block) -> BlockState:
        """Return how a block was quantized."""
        if block.name not in self.manifest.blocks:
            raise ModelError(f"{self.path / MANIFEST} does not say how {block.name} was quantized. Quantize it again.")
        return self.manifest.blocks[block.name]

    def shapes(self, block: Block) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a block's tensors by name, those that only quantguard has names for by theirs."""
        names = (f"{block.name}.", f"{OWN_PREFIX}{block.name}.")
        mine = {name: entry for name, entry in self.tensors.entries.items() if name.startswith(names)}
        return {name.removeprefix(OWN_PREFIX): entry.shape for name, entry in mine.items()}

    def block(self, block: Block) -> tuple[BlockState, Tensors]:
        """Read a block, which holds no weights, as :func:`quantguard.modeling.block_state.block_state` had it."""
        state, names = self.state(block), (f"{block.name}.", f"{OWN_PREFIX}{block.name}.")
        stored = self.tensors.read_named(name for name in self.tensors.names if name.startswith(names))
        return state, decode_block(block, state, stored)


def load(path: pathlib.Path, *, device: str = "cpu", backend: str = "auto") -> LoadedModel:
    """Load a folder of ours onto a device; its full-precision model is not loaded with it.

    Raises ModelError where a file is missing or is not what was written.
    """
    folder = OwnFolder(path)
    manifest, decoder = folder.manifest, folder.decoder
    fill_ends(decoder, folder.tensors, {name: name for name in folder.tensors.entries}, folder.dtype)
    decoder.model.generation_config = read_generation_config(path, folder.config)
    placed = torch_device(device)
    states = []
    for block in decoder.blocks:
        state, tensors = folder.block(block)
        restore_block(block, state, tensors, config=folder.config, backend=backend, device_type=device_type(device))
        states.append(state)
    return LoadedModel(
        name=manifest.name,
        model=decoder.model.to(placed),
        emulates=emulated(device),
        tokenizer=load_tokenizer(path, num_tokens=decoder.embedding.num_embeddings),
        weights_sha256=manifest.weights_sha256,
        stored_bytes=manifest.stored_bytes,
        calibration=manifest.calibration,
        recipe=manifest.recipe,
        calibration_sha256=manifest.calibration_sha256,
        calibration_items=manifest.calibration_items,
        notes=manifest.notes,
        layer_reports=tuple(state.report for state in states),
        source=manifest.source,
        files_sha256=digest(manifest.files),
    )
