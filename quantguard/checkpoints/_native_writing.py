"""Writing quantguard's own folder, a block at a time, so that a run that is ended can go on."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import safetensors
import safetensors.torch
import torch

from quantguard.checkpoints import _ct_config as ct_config
from quantguard.checkpoints._card import card
from quantguard.checkpoints._native import MANIFEST, MANIFEST_FILE, OWN, STANDARD, UNFINISHED, Manifest
from quantguard.checkpoints._native_encoding import beyond_the_standard, encode_block
from quantguard.errors import UsageError
from quantguard.modeling import Block, Decoder
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.modeling.descriptions import EMBEDDING_WEIGHT, FINAL_NORM, HEAD, HEAD_WEIGHT
from quantguard.modeling.finite import require_finite
from quantguard.records.files import SCRATCH_PREFIX, file_sha256, scratch_beside, write_whole
from quantguard.records.sealed_file import SealedFile

_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.jinja",
    "*.model",
    "*.tiktoken",
    "tekken.json",
    "generation_config.json",
)
_TEMPLATES = "additional_chat_templates/*.jinja"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBlock:
    """What is noted of a block that is written: its state, and what of it compressed-tensors cannot express."""

    state: BlockState
    beyond: tuple[str, ...]


NOTE_FILE = SealedFile(
    record=WrittenBlock,
    error=UsageError,
    damaged="{path} is damaged: {problem}. Begin anew: rm -r '{path.parent.parent}'",
)


class FolderWriter:
    """A folder that a model of ``num_blocks`` is being written into."""

    def __init__(self, folder: pathlib.Path, num_blocks: int) -> None:
        self._folder, self._num_blocks = folder, num_blocks
        self.scratch = folder / UNFINISHED

    def _file(self, index: int, stem: str = OWN) -> pathlib.Path:
        """Return the file of block ``index``, or of the ends where there is no such block."""
        return self._folder / f"{stem}-{index + 1:05d}-of-{self._num_blocks + 1:05d}.safetensors"

    def _note(self, index: int) -> pathlib.Path:
        return self.scratch / f"block-{index + 1}.json"

    def write_block(self, index: int, empty: Block, state: BlockState, tensors: Tensors) -> None:
        """Write one block's file, all or nothing; ``empty`` is the block of the float model, without weights."""
        stored = encode_block(empty, state, tensors)
        note = WrittenBlock(state=state, beyond=tuple(beyond_the_standard(empty, state, stored)))
        NOTE_FILE.write(self._note(index), note)
        write_tensors(self._file(index), stored)

    def written_blocks(self) -> Sequence[WrittenBlock]:
        """Return the notes of the blocks that are there, from the first on, without a gap."""
        found = []
        for index in range(self._num_blocks):
            if not (self._file(index).is_file() or self._file(index, STANDARD).is_file()):
                break
            found.append(NOTE_FILE.read(self._note(index)))
        return found

    def finish(self, source: pathlib.Path, decoder: Decoder, manifest: Manifest) -> None:
        """Write what belongs to no block: embedding and head, index, configuration, tokenizer, card and manifest.

        ``source`` is the folder of the full-precision model; ``manifest`` knows neither blocks nor files yet.
        """
        notes = self.written_blocks()
        write_tensors(self._file(self._num_blocks), _ends(decoder))
        complete = dataclasses.replace(
            manifest,
            blocks={note.state.report.name: note.state for note in notes},
            beyond=tuple(dict.fromkeys(reason for note in notes for reason in note.beyond)),
        )
        for index in range(self._num_blocks + 1):
            if self._file(index).is_file():
                self._file(index).replace(self._file(index, complete.stem))
        self._write_index(complete)
        self._write_configuration(source, decoder, complete)
        copy_beside(source, self._folder, _TOKENIZER_FILES)
        (self._folder / "README.md").write_text(card(complete), encoding="utf-8")
        written = [file for pattern in ("*", _TEMPLATES) for file in sorted(self._folder.glob(pattern))]
        names = {file.relative_to(self._folder).as_posix(): file for file in written if file.is_file()}
        files = {name: file_sha256(file) for name, file in names.items() if name != MANIFEST}
        MANIFEST_FILE.write(self._folder / MANIFEST, dataclasses.replace(complete, files=files))

    def _write_index(self, manifest: Manifest) -> None:
        weight_map, total = {}, 0
        for file in sorted(self._folder.glob(f"{manifest.stem}-*.safetensors")):
            with safetensors.safe_open(file, framework="pt") as opened:
                weight_map.update(dict.fromkeys(opened.keys(), file.name))
            total += file.stat().st_size
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        write_json(self._folder / manifest.index, index)

    def _write_configuration(self, source: pathlib.Path, decoder: Decoder, manifest: Manifest) -> None:
        config = json.loads((source / "config.json").read_text())
        config["tie_word_embeddings"] = decoder.head.weight is decoder.embedding.weight
        config.pop("torch_dtype", None)
        config["dtype"] = manifest.dtype
        quantized = {name: args for state in manifest.blocks.values() for name, args in state.linears.items()}
        floats = {name for block in decoder.blocks for name in block.linears} - quantized.keys() | {HEAD}
        config["quantization_config"] = (
            {"quant_method": OWN, "beyond": list(manifest.beyond)}
            if manifest.beyond
            else ct_config.render(quantized, floats)
        )
        write_json(self._folder / "config.json", config)

    def remove_half_written(self) -> None:
        """Remove what a killed run was writing to."""
        for scratch in self._folder.rglob(f"{SCRATCH_PREFIX}*"):
            shutil.rmtree(scratch)

    def remove_blocks(self) -> None:
        """Remove the files of all blocks, whole and half-written."""
        self.remove_half_written()
        for index in range(self._num_blocks):
            self._file(index).unlink(missing_ok=True)


def copy_beside(source: pathlib.Path, target: pathlib.Path, patterns: Iterable[str]) -> None:
    """Copy the files of ``source`` that fit one of some patterns, and the named chat templates in a folder below."""
    for file in {file for pattern in (*patterns, _TEMPLATES) for file in source.glob(pattern) if file.is_file()}:
        copied = target / file.relative_to(source)
        copied.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, copied)


def _ends(decoder: Decoder) -> Tensors:
    tensors = {EMBEDDING_WEIGHT: decoder.embedding.weight, f"{FINAL_NORM}.weight": decoder.norm.weight}
    if decoder.head.weight is not decoder.embedding.weight:
        tensors[HEAD_WEIGHT] = decoder.head.weight
        if decoder.head.bias is not None:
            tensors[f"{HEAD}.bias"] = decoder.head.bias
    return {name: torch.as_tensor(tensor).detach().cpu().contiguous() for name, tensor in tensors.items()}


def write_tensors(path: pathlib.Path, tensors: Tensors) -> None:
    """Write a safetensors file that is there whole or not at all, the same bytes for the same content.

    Raises ModelError for a tensor that holds NaN or infinity.
    """
    require_finite(tensors.items(), where=f"{path} is not written")
    with scratch_beside(path) as scratch:
        temporary = scratch / path.name
        temporary.touch()
        mode = temporary.stat().st_mode
        # Old readers refuse a file that does not say this.
        safetensors.torch.save_file(tensors, temporary, metadata={"format": "pt"})
        temporary.chmod(mode)  # which it has made the owner's alone
        temporary.replace(path)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write JSON that is there whole or not at all."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
