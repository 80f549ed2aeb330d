"""A checkpoint read block by block: the embeddings stay in memory, a block comes when it is asked for and may go."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, overload

import torch

from quantguard.errors import ModelError
from quantguard.modeling.behaviour import require_described
from quantguard.modeling.block import Block
from quantguard.modeling.descriptions import EMBEDDING, EMBEDDING_WEIGHT, FINAL_NORM, HEAD, HEAD_WEIGHT, ROTARY
from quantguard.modeling.finite import named_tensors, require_finite_as_read
from quantguard.modeling.stored_parameters import empty_model, match, ties_head
from quantguard.modeling.structure import Decoder, find_block
from quantguard.modeling.tensor_files import TensorFiles

# What the names of the embedding's tensors, the final norm's and the head's begin with.
ENDS = tuple(f"{name}." for name in (EMBEDDING, FINAL_NORM, HEAD))


def skeleton(config: Any, dtype: torch.dtype) -> Any:
    """Return the model of a configuration without memory for its weights."""
    model = empty_model(config, dtype)
    model.eval()
    # Its buffers are computed, not stored, so they are nowhere to be read from.
    if ROTARY in dict(model.named_modules()):
        model.set_submodule(ROTARY, type(model.get_submodule(ROTARY))(config=config))
    return model


def fill_ends(decoder: Decoder, reader: TensorFiles, names: Mapping[str, str], dtype: torch.dtype) -> None:
    """Read embedding, final norm and head, whose stored ``names`` are by those of the model.

    Raises ModelError for a tensor that is absent, does not fit, or holds NaN or infinity in this type.
    """
    wanted = {name: stored for name, stored in names.items() if name.startswith(ENDS)}
    stored = reader.read_named(wanted.values())
    place_ends(decoder, {name: stored[wanted[name]].to(dtype) for name in wanted})
    for prefix, module in decoder.ends.items():
        require_finite_as_read(named_tensors(module, prefix), reader, names)


def place_ends(decoder: Decoder, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put embedding, final norm and head into a decoder, by their names in the model; a tied head stays tied.

    The configuration is made to say what the weights are: a head of its own is not tied, whatever it said before.
    Raises ModelError for a tensor that is absent or does not fit.
    """
    names = EMBEDDING_WEIGHT, HEAD_WEIGHT
    embedding, head = map(tensors.get, names)
    tied = ties_head(decoder.model.config, embedding, head)
    either = head if embedding is None else embedding
    shared = dict.fromkeys(names, either) if tied and either is not None else {}
    everything = {**tensors, **shared}
    for prefix, module in zip(ENDS, (decoder.embedding, decoder.norm, decoder.head), strict=True):
        own = {name.removeprefix(prefix): tensor for name, tensor in everything.items() if name.startswith(prefix)}
        try:
            module.load_state_dict(own, assign=True)
        except RuntimeError as error:
            raise ModelError(f"{prefix}* does not fit the configuration: {error}") from error
    if tied:
        decoder.head.weight = decoder.embedding.weight
    decoder.model.config.tie_word_embeddings = tied


class StreamedBlocks(Sequence[Block]):
    """The blocks of a checkpoint, each read anew whenever it is asked for and held by nobody here."""

    def __init__(
        self,
        skeletons: Sequence[Block],
        reader: TensorFiles,
        names: Mapping[str, str],
        config: Any,
        *,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self._skeletons, self._reader, self._names, self._config = skeletons, reader, names, config
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
            return StreamedBlocks(rest, self._reader, self._names, self._config, dtype=self._dtype, device=self._device)
        empty = self._skeletons[index]
        # The configuration stays the model's own: it says which attention runs, and that may change.
        layer = copy.deepcopy(empty.layer, {id(self._config): self._config})
        prefix = f"{empty.name}."
        names = {name: stored for name, stored in self._names.items() if name.startswith(prefix)}
        read = self._reader.read_named(names.values())
        tensors = {name.removeprefix(prefix): read[stored].to(self._dtype) for name, stored in names.items()}
        try:
            layer.load_state_dict(tensors, assign=True)
        except RuntimeError as error:
            raise ModelError(f"{empty.name} does not fit its configuration: {error}") from error
        require_finite_as_read(named_tensors(layer, empty.name), self._reader, names)
        return find_block(empty.name, layer.to(self._device))


def streamed_decoder(reader: TensorFiles, config: Any, *, dtype: torch.dtype, device: str) -> Decoder:
    """Return the decoder of a folder's tensors with its ends on a device and its blocks on disk.

    Raises ModelError where the structure is not supported, or the tensors are not those of the configuration.
    """
    empty = require_described(skeleton(config, dtype))
    names = match(reader, empty.model)
    fill_ends(empty, reader, names, dtype)
    for module in (empty.embedding, empty.norm, empty.head, empty.model.get_submodule(ROTARY)):
        module.to(device)
    blocks = StreamedBlocks(empty.blocks, reader, names, empty.model.config, dtype=dtype, device=device)
    return Decoder(model=empty.model, blocks=blocks)
