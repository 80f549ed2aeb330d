"""Loading whatever a name stands for: a full-precision model, or a folder that quantguard quantized into."""

import os
import pathlib

from quantguard.checkpoints import native
from quantguard.errors import ModelError, UsageError
from quantguard.modeling import LoadedModel
from quantguard.modeling import load as load_full_precision


def load(
    name: str | os.PathLike[str], *, dtype: str | None = None, device: str = "cpu", backend: str = "auto"
) -> LoadedModel:
    """Load a model to a device: a short name, a Hugging Face id, a folder or a .gguf file.

    ``dtype`` is the floating-point type to load it in; absent, the catalogue's or the one it is stored in. ``backend``
    chooses the kernels of a model that is quantized already. Raises ModelError where there is no such model or it
    is no causal language model.
    """
    path = pathlib.Path(name)
    if native.is_unfinished(path):
        raise ModelError(f"{path} is not finished: type the quantguard quantize command again, and it goes on")
    if not native.is_native(path):
        return load_full_precision(name, dtype=dtype, device=device)
    if dtype is not None:
        raise UsageError(
            f"{path} is quantized: its type was chosen when it was made, and dtype={dtype!r} cannot change it"
        )
    return native.read(path, device=device, backend=backend)


def full_precision_of(loaded: LoadedModel) -> LoadedModel:
    """Return the model that a quantized one was made from, loading it where it is not in memory; else the model itself.

    Raises ModelError where it cannot be found or is not the same any more.
    """
    if loaded.recipe is None:
        return loaded
    if loaded.full_precision is not None:
        return loaded.full_precision
    source = str(loaded.source)
    try:
        reference = load_full_precision(source, dtype=loaded.dtype, device=loaded.device_type)
    except ModelError as error:
        raise ModelError(f"{loaded.name} is compared with the model that it was made from: {error}") from error
    if reference.weights_sha256 != loaded.weights_sha256:
        raise ModelError(
            f"{source} has other weights than {loaded.name} was made from: {reference.weights_sha256[:12]} and"
            f" {loaded.weights_sha256[:12]}. Quantize it again."
        )
    return reference
