"""A checkpoint read block by block: the embeddings stay in memory, a block comes when it is asked for and may go."""

import copy
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, overload

import safetensors
import torch
import transformers

from quantguard.errors import ModelError
from quantguard.modeling.structure import Block, Decoder, find_block, find_decoder

# Old checkpoints store what is computed from the configuration.
_COMPUTED = "rotary_emb.inv_freq"


class CheckpointReader:
    """The tensors of a folder of safetensors by name, each read from disk when it is asked for."""

    def __init__(self, path: pathlib.Path, *, index: str = "model.safetensors.index.json") -> None:
        if (path / index).is_file():
            weight_map: dict[str, str] = json.loads((path / index).read_text())["weight_map"]
        else:
            with safetensors.safe_open(path / "model.safetensors", framework="pt") as file:
                weight_map = dict.fromkeys(file.keys(), "model.safetensors")
        self._path, self._files = path, weight_map

    @property
    def names(self) -> Sequence[str]:
        """The names of all tensors."""
        return tuple(self._files)

    @property
    def files(self) -> set[str]:
        """The names of the files that hold them."""
        return set(self._files.values())

    def read(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return copies of all tensors whose name starts with ``prefix``, without it."""
        by_file: dict[str, list[str]] = {}
        for name, file in self._files.items():
            if name.startswith(prefix):
                by_file.setdefault(file, []).append(name)
        found = {}
        for file, names in by_file.items():
            try:
                with safetensors.safe_open(self._path / file, framework="pt") as opened:
                    found.update({name.removeprefix(prefix): opened.get_tensor(name).clone() for name in names})
            except (OSError, safetensors.SafetensorError) as error:
                raise ModelError(f"{self._path / file} cannot be read: {error}") from error
        return found

    def metadata(self, prefix: str) -> dict[str, str]:
        """Return what is written in the header of the file that holds the tensors of ``prefix``."""
        files = {file for name, file in self._files.items() if name.startswith(prefix)}
        if len(files) != 1:
            raise ModelError(f"{self._path}: {prefix}* is in {len(files)} files; one was expected")
        file = self._path / files.pop()
        try:
            with safetensors.safe_open(file, framework="pt") as opened:
                metadata: dict[str, str] = opened.metadata() or {}
        except (OSError, safetensors.SafetensorError) as error:
            raise ModelError(f"{file} cannot be read: {error}") from error
        return metadata


def skeleton(config: Any, dtype: torch.dtype) -> Any:
    """Return the model of a configuration without memory for its weights."""
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.eval()
    # Its buffers are computed, not stored, so they are nowhere to be read from.
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config)
    return model


def fill_ends(decoder: Decoder, reader: CheckpointReader, dtype: torch.dtype) -> None:
    """Read embedding, final norm and head; a tied head stays tied."""
    tied = decoder.model.config.tie_word_embeddings
    ends = {"model.embed_tokens.": decoder.embedding, "model.norm.": decoder.norm}
    for name, module in (ends if tied else {**ends, "lm_head.": decoder.head}).items():
        try:
            module.load_state_dict(_in(dtype, reader.read(name)), assign=True)
        except RuntimeError as error:
            raise ModelError(f"{name}* does not fit the configuration: {error}") from error
    if tied:
        decoder.head.weight = decoder.embedding.weight


def require_known(path: pathlib.Path, unknown: Iterable[str]) -> None:
    """Raise ModelError for weights that the architecture has no place for: left out, the model would be another one."""
    left_out = sorted(name for name in unknown if not name.endswith(_COMPUTED))
    if left_out:
        raise ModelError(
            f"{path} has {len(left_out)} weights that its architecture does not, such as {left_out[0]};"
            " is its config.json that of another model?"
        )


class StreamedBlocks(Sequence[Block]):
    """The blocks of a checkpoint, each read anew whenever it is asked for and held by nobody here."""

    def __init__(
        self, skeletons: Sequence[Block], reader: CheckpointReader, config: Any, *, dtype: torch.dtype, device: str
    ) -> None:
        self._skeletons, self._reader, self._config = skeletons, reader, config
        self._dtype, self._device = dtype, device

    def __len__(self) -> int:
        """Count the blocks."""
        return len(self._skeletons)

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Block]: ...
    def __getitem__(self, index: int | slice) -> Block | Sequence[Block]:
        """Read a block; a slice is as lazy as the whole."""
        if isinstance(index, slice):
            rest = self._skeletons[index]
            return StreamedBlocks(rest, self._reader, self._config, dtype=self._dtype, device=self._device)
        empty = self._skeletons[index]
        # The configuration stays the model's own: it says which attention runs, and that may change.
        layer = copy.deepcopy(empty.layer, {id(self._config): self._config})
        tensors = _in(self._dtype, self._reader.read(f"{empty.name}."))
        try:
            layer.load_state_dict(tensors, assign=True)
        except RuntimeError as error:
            raise ModelError(f"{empty.name} does not fit its configuration: {error}") from error
        return find_block(empty.name, layer.to(self._device))


def streamed_decoder(path: pathlib.Path, config: Any, *, dtype: torch.dtype, device: str) -> Decoder:
    """Return the decoder of a folder with its ends on a device and its blocks on disk.

    Raises ModelError where the structure is not supported or a tensor is absent.
    """
    reader = CheckpointReader(path)
    empty = find_decoder(skeleton(config, dtype))
    require_known(path, set(reader.names) - set(empty.model.state_dict()))
    fill_ends(empty, reader, dtype)
    for module in (empty.embedding, empty.norm, empty.head, empty.model.model.rotary_emb):
        module.to(device)
    blocks = StreamedBlocks(empty.blocks, reader, empty.model.config, dtype=dtype, device=device)
    return Decoder(model=empty.model, blocks=blocks)


def _in(dtype: torch.dtype, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}
