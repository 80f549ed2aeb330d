"""quantguard's own folder: everything that a recipe makes of a model, a decoder layer a file.

``quantguard-00001-of-000NN.safetensors`` and on hold a block each, with its settings and report in the header; the
last file holds the embedding, the final norm and the head. ``quantguard.json``, written last, says where the model
comes from and has the hash of every file. No file is called ``model*.safetensors``: transformers would load such a
folder with random weights in the place of those that it does not know, and only warn.
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

import safetensors.torch
import torch

from quantguard.errors import ModelError, RecordError
from quantguard.kernels.ascend.device import torch_device
from quantguard.modeling import Block, Decoder, LoadedModel, find_decoder
from quantguard.modeling.block_state import BlockState, Tensors, restore_block
from quantguard.modeling.configuration import read_config
from quantguard.modeling.loading import emulated, load_tokenizer
from quantguard.modeling.streaming import CheckpointReader, fill_ends, skeleton
from quantguard.records import CalibrationArgs, Recipe, from_json, to_json
from quantguard.records.files import parse_json, read_text, seal, unseal, write_whole

MANIFEST = "quantguard.json"
UNFINISHED = ".unfinished"
INDEX = "quantguard.safetensors.index.json"
_WRITING = ".writing-"
_METHOD = "quantguard"
_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.jinja",
    "generation_config.json",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is known of a quantized model beside its tensors; files are by name with their sha256.

    ``source`` is what the full-precision model was called when it was quantized, ``weights_sha256`` and
    ``stored_bytes`` are of its weight files, ``backend`` is what its blocks ran on.
    """

    source: str
    name: str
    weights_sha256: str
    stored_bytes: int
    dtype: str
    recipe: Recipe
    calibration: CalibrationArgs
    calibration_sha256: str | None
    backend: str
    notes: tuple[str, ...]
    versions: dict[str, str]
    files: dict[str, str]


def is_native(path: pathlib.Path) -> bool:
    """Tell whether a folder is a finished quantized model of ours."""
    return (path / MANIFEST).is_file()


def is_unfinished(path: pathlib.Path) -> bool:
    """Tell whether a folder is one that a run was ended in."""
    return (path / UNFINISHED).is_dir()


def shard_name(index: int, num_blocks: int) -> str:
    """Return the file of block ``index``, or of the ends where there is no such block."""
    return f"quantguard-{index + 1:05d}-of-{num_blocks + 1:05d}.safetensors"


def write_block(folder: pathlib.Path, name: str, state: BlockState, tensors: Tensors) -> None:
    """Write one block's file, all or nothing."""
    write_tensors(folder / name, tensors, {"quantguard": json.dumps(to_json(state))})


def read_state(file: pathlib.Path) -> BlockState:
    """Return the settings and the report in the header of a block's file."""
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"{file} cannot be read: {error}. Quantize the model again.") from error
    return _parse_state(metadata, str(file))


def write_ends(folder: pathlib.Path, name: str, decoder: Decoder) -> None:
    """Write embedding, final norm and head."""
    tensors = {"model.embed_tokens.weight": decoder.embedding.weight, "model.norm.weight": decoder.norm.weight}
    if decoder.head.weight is not decoder.embedding.weight:
        tensors["lm_head.weight"] = decoder.head.weight
        if decoder.head.bias is not None:
            tensors["lm_head.bias"] = decoder.head.bias
    stored = {name: torch.as_tensor(tensor).detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_tensors(folder / name, stored, {})


def write_tensors(path: pathlib.Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Write a safetensors file that is there whole or not at all, the same bytes for the same content.

    For that ``metadata`` has one entry at most: the header holds more in an order that changes from run to run.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=_WRITING) as scratch:
        temporary = pathlib.Path(scratch) / path.name
        temporary.touch()
        mode = temporary.stat().st_mode
        safetensors.torch.save_file(tensors, temporary, metadata=metadata)
        temporary.chmod(mode)  # which it has made the owner's alone
        temporary.replace(path)


def remove_half_written(folder: pathlib.Path) -> None:
    """Remove what a killed run was writing to."""
    for scratch in folder.rglob(f"{_WRITING}*"):
        shutil.rmtree(scratch)


def write_index_and_configuration(folder: pathlib.Path, source: pathlib.Path, decoder: Decoder) -> None:
    """Write the index over all files, the configuration, and copies of the tokenizer's files."""
    weight_map, total = {}, 0
    for file in sorted(folder.glob("quantguard-*.safetensors")):
        with safetensors.safe_open(file, framework="pt") as opened:
            weight_map.update(dict.fromkeys(opened.keys(), file.name))
        total += file.stat().st_size
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})
    config = json.loads((source / "config.json").read_text())
    config["tie_word_embeddings"] = decoder.head.weight is decoder.embedding.weight
    config["quantization_config"] = {"quant_method": _METHOD}
    write_json(folder / "config.json", config)
    for file in {file for pattern in _TOKENIZER_FILES for file in source.glob(pattern)}:
        shutil.copyfile(file, folder / file.name)


def write_manifest(folder: pathlib.Path, manifest: Manifest) -> None:
    """Write what makes the folder a finished model, with the hashes of all that is in it."""
    files = {file.name: _sha256(file) for file in sorted(folder.iterdir()) if file.is_file() and file.name != MANIFEST}
    write_json(folder / MANIFEST, seal(to_json(dataclasses.replace(manifest, files=files))))


def read(path: pathlib.Path, *, device: str = "cpu", backend: str = "auto") -> LoadedModel:
    """Load a folder of ours onto a device; its full-precision model is not loaded with it.

    Raises ModelError where a file is missing or is not what was written.
    """
    manifest = _read_manifest(path)
    config = read_config(path)
    del config.quantization_config
    dtype = getattr(torch, manifest.dtype)
    decoder = find_decoder(skeleton(config, dtype))
    reader = CheckpointReader(path, index=INDEX)
    if unsigned := sorted(reader.files - set(manifest.files)):
        raise ModelError(
            f"{path / unsigned[0]} holds weights, and {MANIFEST} has no hash of it. Quantize the model again."
        )
    fill_ends(decoder, reader, dtype)
    device_type = device.partition(":")[0]
    placed = torch_device(device)
    states = [_restore(block, reader, config, backend=backend, device_type=device_type) for block in decoder.blocks]
    return LoadedModel(
        name=manifest.name,
        model=decoder.model.to(placed),
        emulates=emulated(device),
        tokenizer=load_tokenizer(path),
        weights_sha256=manifest.weights_sha256,
        stored_bytes=manifest.stored_bytes,
        calibration=manifest.calibration,
        recipe=manifest.recipe,
        calibration_sha256=manifest.calibration_sha256,
        notes=manifest.notes,
        layer_reports=tuple(state.report for state in states),
        source=manifest.source,
    )


def _restore(block: Block, reader: CheckpointReader, config: Any, *, backend: str, device_type: str) -> BlockState:
    prefix = f"{block.name}."
    state = _parse_state(reader.metadata(prefix), block.name)
    tensors = {prefix + name: tensor for name, tensor in reader.read(prefix).items()}
    restore_block(block, state, tensors, config=config, backend=backend, device_type=device_type)
    return state


def _parse_state(metadata: dict[str, str], where: str) -> BlockState:
    try:
        return from_json(BlockState, parse_json(metadata.get("quantguard", "")), where="it")
    except RecordError as error:
        raise ModelError(
            f"{where}: its header does not say how it was quantized: {error}. Quantize the model again."
        ) from error


def _read_manifest(path: pathlib.Path) -> Manifest:
    try:
        manifest = from_json(Manifest, unseal(parse_json(read_text(path / MANIFEST))), where="it")
    except RecordError as error:
        raise ModelError(f"{path / MANIFEST} is damaged: {error}. Quantize the model again.") from error
    for name, expected in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise ModelError(f"{file} is missing, and {MANIFEST} names it. Quantize the model again.")
        if _sha256(file) != expected:
            raise ModelError(f"{file} is not what was written: its hash differs. Quantize the model again.")
    return manifest


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write JSON that is there whole or not at all."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _sha256(file: pathlib.Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def existing_blocks(folder: pathlib.Path, num_blocks: int) -> Sequence[pathlib.Path]:
    """Return the files of the blocks that are there, from the first on, without a gap."""
    files = [folder / shard_name(index, num_blocks) for index in range(num_blocks)]
    present = [file.is_file() for file in files]
    return files[: present.index(False)] if False in present else files
