"""Loading a causal language model from a short name, a Hugging Face id, a folder or a .gguf file."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import safetensors
import torch
import transformers
from transformers.conversion_mapping import get_model_conversion_mapping

from quantguard import catalog, devices
from quantguard.errors import ModelError
from quantguard.kernels import torch_device
from quantguard.modeling.behaviour import require_described
from quantguard.modeling.configuration import read_config, read_generation_config
from quantguard.modeling.finite import named_tensors, require_finite, require_finite_as_read
from quantguard.modeling.foreign_errors import ErrorsToldAs
from quantguard.modeling.stored_parameters import (
    empty_model,
    match,
    open_weights,
    require_all,
    require_known,
    served_files,
    stored_dtype,
)
from quantguard.modeling.streaming import streamed_decoder
from quantguard.modeling.structure import Decoder
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.modeling.tokenizer_files import load_tokenizer
from quantguard.records import CalibrationArgs, LayerReport, Recipe

# A model of one's own names no calibration set; plain English text is what every Python has.
_DEFAULT_CALIBRATION = CalibrationArgs(dataset="python-docs", num_samples=64, max_length=512)
_FEW_BYTES = 1 << 20
_DTYPES = ("auto", "bfloat16", "float16", "float32", "float64")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A causal language model with its tokenizer, and what a record needs to know about it.

    Attributes:
        name: The name that records and baselines know the model by.
        model: The transformers model; quantized in place if there is a ``recipe``.
        tokenizer: The transformers tokenizer.
        weights_sha256: The hash of the bytes of all full-precision weight files; of the quantized files if another tool
            quantized the model (``checkpoint``).
        stored_bytes: The size of those files.
        calibration: The calibration set that a recipe without one of its own uses.
        recipe: The recipe that the model was quantized by; absent for full precision.
        calibration_sha256: The hash of the token ids that it was calibrated on; absent if it needed none.
        calibration_items: The benchmark items that the calibration text was made from, as ``benchmark/id``.
        notes: Remarks from quantization that belong in the record.
        layer_reports: How each decoder layer came out of quantization.
        full_precision: The model that this one was quantized from; absent if that is not in memory.
        source: The name or path of that model, if this one was read from a quantized folder.
        decoder: The decoder whose blocks are read from disk one at a time (:func:`load_streamed`); absent if the model
            holds its blocks itself.
        emulates: The device whose kernels are emulated on the model's own device; absent if none is emulated.
        checkpoint: The folder of a model that another tool quantized.
        files_sha256: The hash of all files of the folder that a quantized model was read from, whoever quantized it.
    """

    name: str
    model: Any
    tokenizer: Any
    weights_sha256: str
    stored_bytes: int
    calibration: CalibrationArgs
    recipe: Recipe | None = None
    calibration_sha256: str | None = None
    calibration_items: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    layer_reports: tuple[LayerReport, ...] = ()
    full_precision: "LoadedModel | None" = None
    source: str | None = None
    decoder: Decoder | None = None
    emulates: str | None = None
    checkpoint: pathlib.Path | None = None
    files_sha256: str | None = None

    @property
    def device_type(self) -> str:
        """The type of the device that the model is on, such as ``cpu``, ``npu`` or ``emulated-910b``."""
        return self.emulates or str(self.model.device.type)

    @property
    def dtype(self) -> str:
        """The floating-point type that activations have, such as ``float32``."""
        return str(self.model.dtype).removeprefix("torch.")


def load(name: str | os.PathLike[str], *, dtype: str | None = None, device: str = "cpu") -> LoadedModel:
    """Load a model to a device in a floating-point type; absent, the catalogue's or the one it is stored in.

    Raises ModelError where there is no such model, it is no causal language model or not one of a structure that is
    supported, or a weight holds NaN or infinity, be it only in this type.
    """
    found = _find(name, dtype, device)
    with _without_progress_bars():
        read = load_gguf if found.path.suffix == ".gguf" else _from_folder
        model, tokenizer = read(found.path, found.dtype)
    require_described(model.eval())
    _to_device(model, torch_device(device))
    return found.loaded(model, tokenizer)


def load_streamed(name: str | os.PathLike[str], *, dtype: str | None = None, device: str = "cpu") -> LoadedModel:
    """Load a model without its blocks, which the field ``decoder`` reads from disk one at a time.

    It cannot be run. Raises ModelError as :func:`load`, and for a .gguf file.
    """
    found = _find(name, dtype, device)
    find_folder(name)
    config, files = _float_config(found.path), open_weights(found.path)
    wanted = stored_dtype(files, config) if found.dtype == "auto" else getattr(torch, found.dtype)
    decoder = streamed_decoder(files, config, dtype=wanted, device=torch_device(device))
    decoder.model.generation_config = read_generation_config(found.path, config)
    tokenizer = load_tokenizer(found.path, num_tokens=decoder.embedding.num_embeddings)
    return dataclasses.replace(found.loaded(decoder.model, tokenizer), decoder=decoder)


def find_folder(name: str | os.PathLike[str]) -> pathlib.Path:
    """Return the folder of a model's files, fetched where it is an id; raise ModelError for a single file."""
    path = _find(name, None, "cpu").path
    if not path.is_dir():
        raise ModelError(f"{path} is one file; quantizing into a folder starts from a folder of safetensors")
    return path


def default_calibration(name: str | os.PathLike[str]) -> CalibrationArgs:
    """Return the calibration set that a recipe without one gets for this model."""
    entry = catalog.find(os.fspath(name))
    return entry.calibration if entry else _DEFAULT_CALIBRATION


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A model on disk, before it is read."""

    name: str
    path: pathlib.Path
    dtype: str
    calibration: CalibrationArgs
    emulates: str | None

    def loaded(self, model: Any, tokenizer: Any) -> LoadedModel:
        files = [self.path]
        if self.path.is_dir():
            files = [self.path / name for name in sorted(open_weights(self.path).files)]
        return LoadedModel(
            name=self.name,
            model=model,
            tokenizer=tokenizer,
            weights_sha256=_sha256(files),
            stored_bytes=sum(file.stat().st_size for file in files),
            calibration=self.calibration,
            emulates=self.emulates,
        )


def _find(name: str | os.PathLike[str], dtype: str | None, device: str) -> _Found:
    text = os.fspath(name)
    entry = catalog.find(text)
    wanted = dtype or (devices.find(device).DTYPE or entry.dtype if entry else "auto")
    if wanted not in _DTYPES:
        raise ModelError(f"unknown dtype {wanted!r}; possible: {', '.join(_DTYPES)}")
    path = locate(text)
    shown = text if entry or not pathlib.Path(text).exists() else path.resolve().name
    return _Found(name=shown, path=path, dtype=wanted, calibration=default_calibration(text), emulates=emulated(device))


def emulated(device: str) -> str | None:
    """Return the device where it is one that is emulated."""
    return device if devices.find(device).IS_EMULATED else None


def _to_device(model: Any, device: str) -> None:
    try:
        model.eval().to(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error


def locate(text: str) -> pathlib.Path:
    """Return the folder or file of a short name, a path or a Hugging Face id; raise ModelError where there is none."""
    entry = catalog.find(text)
    if entry is not None:
        path = catalog.folder(entry)
        if not (path / "config.json").is_file():
            raise ModelError(f"{text} is not on this machine yet. Type: quantguard fetch {text}")
        return path
    path = pathlib.Path(text)
    if path.exists():
        return path
    if text.endswith(".gguf") or text.startswith((".", "/", "~")) or text.count("/") != 1:
        raise ModelError(
            f"there is no model {text!r}: it is no path on this machine, no Hugging Face id (owner/name)"
            f" and no short name ({', '.join(catalog.names())})"
        )
    return _download(text)


@functools.cache
def _download(repository: str) -> pathlib.Path:
    import huggingface_hub  # noqa: PLC0415 - costs a second, and only ids need it

    try:
        return pathlib.Path(huggingface_hub.snapshot_download(repository))
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise ModelError(
            f"cannot get {repository!r} from the Hugging Face hub: {error}. Give the path of a local copy instead."
        ) from error


def _from_folder(path: pathlib.Path, dtype: str) -> tuple[Any, Any]:
    config, files = _float_config(path), open_weights(path)
    wanted = stored_dtype(files, config) if dtype == "auto" else getattr(torch, dtype)
    _require_own_tensors(files, empty_model(config, wanted))
    read_generation_config(path, config)
    try:
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=wanted, config=config, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path} cannot be loaded: {error}") from error
    model, report = loaded
    require_all(path, sorted(report["missing_keys"]))
    require_known(path, report["unexpected_keys"])
    require_finite_as_read(named_tensors(model), files)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    # It may say that they are tied, and transformers have found two.
    model.config.tie_word_embeddings = head is not None and head.weight is embedding.weight
    return model, load_tokenizer(path, num_tokens=embedding.num_embeddings)


def _require_own_tensors(files: TensorFiles, empty: Any) -> None:
    """Raise ModelError where the stored tensors are not those of the configuration, by file and name.

    Of architectures whose tensors transformers puts together in its own ways, it alone can tell.
    """
    if not get_model_conversion_mapping(empty, add_legacy=False):
        match(files, empty)


def _float_config(path: pathlib.Path) -> Any:
    config = read_config(path)
    if getattr(config, "quantization_config", None):
        raise ModelError(f"{path} is quantized already; a full-precision model is wanted here")
    return config


def tokenizer_of(name: str | os.PathLike[str]) -> Any:
    """Load the tokenizer of a model by a short name, an id or a folder, without the model."""
    return load_tokenizer(find_folder(name))


def weights_sha256(folder: pathlib.Path) -> str:
    """Hash the bytes of the weight files that a server reads from a folder; raise ModelError where it has none."""
    return _sha256(served_files(folder))


def load_gguf(path: pathlib.Path, dtype: str) -> tuple[Any, Any]:
    """Load model and tokenizer of a .gguf file, dequantised.

    Raises ModelError without what reads the format, and for a file that is damaged.
    """
    missing = [name for name in ("accelerate", "gguf") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"reading {path.name} needs {' and '.join(missing)}. Type: pip install 'quantguard[gguf]'")
    if not path.is_file():
        raise ModelError(f"{path} is not a file")
    stored = torch.float16 if dtype == "auto" else getattr(torch, dtype)
    with ErrorsToldAs(f"{path} cannot be read"):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent,
            dtype=stored,
            gguf_file=path.name,
            quantization_config=transformers.GgufConfig(dequantize=True),
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    require_finite(named_tensors(model), where=f"{path} in {str(stored).removeprefix('torch.')}")
    return model, tokenizer


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing bars over ours; its setting is put back."""
    settings: Any = transformers.utils.logging
    shown = settings.is_progress_bar_enabled()
    settings.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            settings.enable_progress_bar()


def _sha256(files: list[pathlib.Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_FEW_BYTES):
                digest.update(block)
    return digest.hexdigest()
