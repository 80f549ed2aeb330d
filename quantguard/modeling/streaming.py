"""A checkpoint read block by block: the embeddings stay in memory, a block comes when it is asked for and may go."""

import copy
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, overload

import torch
import transformers

from quantguard.errors import ModelError
from quantguard.modeling.behaviour import require_described
from quantguard.modeling.finite import named_tensors, require_finite_as_read
from quantguard.modeling.structure import Block, Decoder, find_block
from quantguard.modeling.tensor_files import TensorFiles

# Old checkpoints store what is computed from the configuration.
_COMPUTED = "rotary_emb.inv_freq"


def skeleton(config: Any, dtype: torch.dtype) -> Any:
    """Return the model of a configuration without memory for its weights."""
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.eval()
    # Its buffers are computed, not stored, so they are nowhere to be read from.
    rotary = getattr(getattr(model, "model", None), "rotary_emb", None)
    if rotary is not None:
        model.model.rotary_emb = type(rotary)(config=config)
    return model


def fill_ends(decoder: Decoder, reader: TensorFiles, dtype: torch.dtype) -> None:
    """Read embedding, final norm and head; a tied head stays tied.

    Raises ModelError for a tensor that is absent, does not fit, or holds NaN or infinity in this type.
    """
    tied = decoder.model.config.tie_word_embeddings
    ends = {"model.embed_tokens.": decoder.embedding, "model.norm.": decoder.norm}
    for name, module in (ends if tied else {**ends, "lm_head.": decoder.head}).items():
        try:
            module.load_state_dict(_in(dtype, reader.read(name)), assign=True)
        except RuntimeError as error:
            raise ModelError(f"{name}* does not fit the configuration: {error}") from error
    if tied:
        decoder.head.weight = decoder.embedding.weight
    for prefix, module in decoder.ends.items():
        require_finite_as_read(named_tensors(module, prefix), reader)


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
        self, skeletons: Sequence[Block], reader: TensorFiles, config: Any, *, dtype: torch.dtype, device: str
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
        require_finite_as_read(named_tensors(layer, empty.name), self._reader)
        return find_block(empty.name, layer.to(self._device))


def streamed_decoder(path: pathlib.Path, config: Any, *, dtype: torch.dtype, device: str) -> Decoder:
    """Return the decoder of a folder with its ends on a device and its blocks on disk.

    Raises ModelError where the structure is not supported or a tensor is absent.
    """
    reader = TensorFiles(path)
    empty = require_described(skeleton(config, dtype))
    require_known(path, set(reader.names) - set(empty.model.state_dict()))
    fill_ends(empty, reader, dtype)
    for module in (empty.embedding, empty.norm, empty.head, empty.model.model.rotary_emb):
        module.to(device)
    blocks = StreamedBlocks(empty.blocks, reader, empty.model.config, dtype=dtype, device=device)
    return Decoder(model=empty.model, blocks=blocks)


def _in(dtype: torch.dtype, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}
