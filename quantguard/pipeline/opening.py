"""Loading whatever a name stands for: a full-precision model, or one that quantguard or another tool quantized."""

import dataclasses
import os
import pathlib

import torch

from quantguard.checkpoints import _importing as importing
from quantguard.checkpoints import members, native, recognise
from quantguard.errors import ModelError, UsageError
from quantguard.modeling import LoadedModel
from quantguard.modeling import load as load_full_precision
from quantguard.modeling.loading import locate


def load(
    name: str | os.PathLike[str], *, dtype: str | None = None, device: str = "cpu", backend: str = "auto"
) -> LoadedModel:
    """Load a model to a device: a short name, a Hugging Face id, a folder or a .gguf file.

    A folder may hold a quantized checkpoint, of quantguard or of another tool; ``quantguard list checkpoints`` has the
    formats. ``dtype`` is the floating-point type to load it in; absent, the catalogue's or the one it is stored in.
    ``backend`` chooses the kernels of a model that is quantized already. Raises ModelError where there is no such
    model, it is no causal language model, or its files are damaged or contradict each other.
    """
    path = pathlib.Path(name)
    if native.is_unfinished(path):
        raise ModelError(f"{path} is not finished: type the quantguard quantize command again, and it goes on")
    if native.is_native(path):
        if dtype is not None:
            raise UsageError(
                f"{path} is quantized: its type was chosen when it was made, and dtype={dtype!r} cannot change it"
            )
        return native.load(path, device=device, backend=backend)
    found = locate(os.fspath(name))
    form = recognise(found)
    if form is None:
        return load_full_precision(name, dtype=dtype, device=device)
    stored = members[form].open_checkpoint(found)
    wanted = stored.dtype if dtype in (None, "auto") else getattr(torch, str(dtype), None)
    if not isinstance(wanted, torch.dtype):
        raise ModelError(f"unknown dtype {dtype!r}; possible: bfloat16, float16, float32")
    return importing.read(stored, dtype=wanted, device=device, backend=backend)


def made_from(loaded: LoadedModel, reference: str | os.PathLike[str]) -> LoadedModel:
    """Name the full-precision model of one that another tool quantized.

    Raises UsageError for any other, which knows its own.
    """
    if loaded.checkpoint is None:
        kind = "is not quantized" if loaded.recipe is None else "knows what it was made from"
        raise UsageError(
            f"reference={os.fspath(reference)!r}: {loaded.name} {kind}; it belongs to a checkpoint that another tool"
            " quantized, or to a served model"
        )
    return dataclasses.replace(loaded, source=os.fspath(reference))


def full_precision_of(loaded: LoadedModel) -> LoadedModel:
    """Return the model that a quantized one was made from, loading it where it is not in memory; else the model itself.

    Raises ModelError where it cannot be found or is not the same any more.
    """
    if loaded.recipe is None:
        return loaded
    if loaded.full_precision is not None:
        return loaded.full_precision
    if loaded.source is None:
        raise ModelError(
            f"{loaded.name} is compared with the model that it was made from, which its files do not name:"
            " say guard.check(…, reference='PATH'), or --reference PATH on the command line"
        )
    source = str(loaded.source)
    try:
        reference = load_full_precision(source, dtype=loaded.dtype, device=loaded.device_type)
    except ModelError as error:
        raise ModelError(f"{loaded.name} is compared with the model that it was made from: {error}") from error
    if loaded.checkpoint is not None:
        _require_same_architecture(loaded, reference)
    elif reference.weights_sha256 != loaded.weights_sha256:
        raise ModelError(
            f"{source} has other weights than {loaded.name} was made from: {reference.weights_sha256[:12]} and"
            f" {loaded.weights_sha256[:12]}. Quantize it again."
        )
    return reference


_ARCHITECTURE = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)


def _require_same_architecture(loaded: LoadedModel, reference: LoadedModel) -> None:
    for key in _ARCHITECTURE:
        ours, theirs = (getattr(model.model.config, key, None) for model in (loaded, reference))
        if ours != theirs:
            raise ModelError(
                f"{reference.name} cannot be what {loaded.name} was made from: {key} is {theirs} there and {ours} here."
                " Name the right full-precision model as reference"
            )
