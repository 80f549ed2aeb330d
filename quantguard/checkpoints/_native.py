"""quantguard's own folder: everything that a recipe makes of a model, a decoder layer a file.

Linears are stored as compressed-tensors has them. Where that says all there is, the folder is of that format, its files
are called ``model-00001-of-000NN.safetensors``, and whoever loads the format loads it. Where it does not, the rest lies
under ``quantguard.…`` and files and method are called ``quantguard``: transformers would load a folder of
``model*.safetensors`` with random weights in the place of what it does not know, and only warn.

``quantguard.json``, written last, says where the model comes from, how every block was quantized, and has the hash of
every file.
"""

import dataclasses
import pathlib

import torch

from quantguard.checkpoints._native_encoding import OWN_PREFIX, decode_block
from quantguard.errors import ModelError
from quantguard.kernels.ascend.device import torch_device
from quantguard.modeling import Block, LoadedModel, require_described
from quantguard.modeling.block_state import BlockState, Tensors, restore_block
from quantguard.modeling.configuration import read_config, read_generation_config
from quantguard.modeling.loading import emulated
from quantguard.modeling.streaming import fill_ends, skeleton
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.modeling.tokenizer_files import load_tokenizer
from quantguard.records import CalibrationArgs, Recipe
from quantguard.records.codec import digest
from quantguard.records.files import file_sha256
from quantguard.records.sealed_file import SealedFile

MANIFEST = "quantguard.json"
UNFINISHED = ".unfinished"
# What files are called where compressed-tensors says all, and where it does not.
STANDARD, OWN = "model", "quantguard"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is known of a quantized model beside its tensors; files are by name with their sha256.

    ``source`` is what the full-precision model was called when it was quantized, ``weights_sha256`` and
    ``stored_bytes`` are of its weight files, ``backend`` is what its blocks ran on. ``beyond`` says what of it
    compressed-tensors cannot express; empty where the folder is of that format.
    """

    source: str
    name: str
    weights_sha256: str
    stored_bytes: int
    dtype: str
    recipe: Recipe
    calibration: CalibrationArgs
    calibration_sha256: str | None
    calibration_items: tuple[str, ...] = ()
    backend: str
    notes: tuple[str, ...]
    versions: dict[str, str]
    beyond: tuple[str, ...] = ()
    blocks: dict[str, BlockState]
    files: dict[str, str]

    @property
    def stem(self) -> str:
        """What the names of the files of tensors begin with."""
        return OWN if self.beyond else STANDARD

    @property
    def index(self) -> str:
        """The name of the index over all tensors."""
        return f"{self.stem}.safetensors.index.json"


MANIFEST_FILE = SealedFile(
    record=Manifest, error=ModelError, damaged="{path} is damaged: {problem}. Quantize the model again."
)


def is_native(path: pathlib.Path) -> bool:
    """Tell whether a folder is a finished quantized model of ours."""
    return (path / MANIFEST).is_file()


def is_unfinished(path: pathlib.Path) -> bool:
    """Tell whether a folder is one that a run was ended in."""
    return (path / UNFINISHED).is_dir()


class OwnFolder:
    """A finished folder of ours, opened; its blocks are read when they are asked for.

    ``decoder`` holds no weights. With ``hashes`` every file is held against the manifest. Raises ModelError where a
    file is missing or is not what was written.
    """

    def __init__(self, path: pathlib.Path, *, hashes: bool = True) -> None:
        self.path = path
        self.manifest = _read_manifest(path, hashes=hashes)
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


def read(path: pathlib.Path, *, device: str = "cpu", backend: str = "auto") -> LoadedModel:
    """Load a folder of ours onto a device; its full-precision model is not loaded with it.

    Raises ModelError where a file is missing or is not what was written.
    """
    folder = OwnFolder(path)
    manifest, decoder = folder.manifest, folder.decoder
    fill_ends(decoder, folder.tensors, {name: name for name in folder.tensors.entries}, folder.dtype)
    decoder.model.generation_config = read_generation_config(path, folder.config)
    device_type = device.partition(":")[0]
    placed = torch_device(device)
    states = []
    for block in decoder.blocks:
        state, tensors = folder.block(block)
        restore_block(block, state, tensors, config=folder.config, backend=backend, device_type=device_type)
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


def _read_manifest(path: pathlib.Path, *, hashes: bool) -> Manifest:
    manifest = MANIFEST_FILE.read(path / MANIFEST)
    for name, expected in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise ModelError(f"{file} is missing, and {MANIFEST} names it. Quantize the model again.")
        if hashes and file_sha256(file) != expected:
            raise ModelError(f"{file} is not what was written: its hash differs. Quantize the model again.")
    return manifest
