"""What a folder of full precision is: which files it is read from, and which stored tensor is which parameter.

Loading, streaming, quantizing and fingerprints all ask here, and the answers are those of transformers: the one file
before an index, ``model.`` added to names or taken away, and a head of its own where it differs from the embedding that
the configuration ties it to. What transformers would choose or guess at is refused by name.
"""

import pathlib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
import transformers

from quantguard.errors import ModelError
from quantguard.modeling.configuration import CONFIG, named_weights
from quantguard.modeling.descriptions import COMPUTED, EMBEDDING_WEIGHT, HEAD_WEIGHT
from quantguard.modeling.tensor_files import INDEX, TensorFiles, read_index

SINGLE = INDEX.removesuffix(".index.json")
# As safetensors spells the types that a model can be loaded in.
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def open_weights(path: pathlib.Path) -> TensorFiles:
    """Return the tensors that a full-precision model is read from; raise ModelError where that is not sure."""
    if (path / "adapter_config.json").is_file():
        raise ModelError(
            f"{path / 'adapter_config.json'} makes this folder one of an adapter, which is read or left out as packages"
            " are installed: merge it into the model and save that, or remove the file"
        )
    named = named_weights(path)
    if named is not None:
        indexed = named.endswith(".index.json")
        files = TensorFiles(path, index=named if indexed else f"{named}.index.json", indexed=indexed)
    else:
        files = TensorFiles(path, index=find_index(path))
    files.refuse_unreadable()
    return files


def find_index(path: pathlib.Path, *, stems: Iterable[str] = ()) -> str:
    """Return the name of the index over a folder's weights, or what it would be called beside the one file.

    ``stems`` are what the names of files may begin with besides ``model``. Raises ModelError where there are no such
    files, or those of two names, of which programs read different ones.
    """
    possible = [f"{stem}.safetensors" for stem in dict.fromkeys((SINGLE.removesuffix(".safetensors"), *stems))]
    found = [name for name in possible if (path / name).is_file() or (path / f"{name}.index.json").is_file()]
    if len(found) > 1:
        raise ModelError(f"{path} has weights of two names, {' and '.join(found)}; remove those that are left over")
    if not found:
        raise ModelError(f"{path} has no {' nor '.join(possible)}{_instead(path)}")
    return f"{found[0]}.index.json"


def _instead(path: pathlib.Path) -> str:
    """Say what lies there in the place of weights, and what to do."""
    names = sorted(file.name for file in path.iterdir() if file.is_file())
    tensors = [name for name in names if name.endswith(".safetensors")]
    linked = [name for name in (SINGLE, INDEX) if (path / name).is_symlink()]
    if linked:
        return f": {linked[0]} is a link to a file that is not there; download the model again"
    if len(tensors) > 1:
        return f" and no {INDEX}, which says that {', '.join(tensors[:3])} belong together; get it from where they are"
    if tensors:
        return f"; if the model is {tensors[0]}, rename that"
    for kind, advice in (
        (".bin", "convert it with save_pretrained first: quantguard reads no pickled weights"),
        (".gguf", "give the path of that file"),
        (".pth", "convert it with save_pretrained first"),
    ):
        if other := next((name for name in names if name.endswith((kind, f"{kind}.index.json"))), None):
            return f"; it has {other}: {advice}"
    return "; convert other weights with save_pretrained first"


def served_files(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the files that vLLM reads: all that end in .safetensors, or of those what the index names."""
    files = sorted(path.glob("*.safetensors"))
    if (path / INDEX).is_file():
        named = set(read_index(path / INDEX)[0].values())
        files = [file for file in files if file.name in named]
    if not files:
        raise ModelError(f"{path} has no {SINGLE}{_instead(path)}")
    return files


def stored_dtype(files: TensorFiles, config: Any) -> torch.dtype:
    """Return the type that a model is in: what its configuration says, else that of the first stored float."""
    if isinstance(config.dtype, torch.dtype):
        if config.dtype not in _FLOATS.values():
            raise ModelError(
                f"{files.path / CONFIG}: dtype is {config.dtype}; possible: {', '.join(map(str, _FLOATS.values()))}"
            )
        return config.dtype
    named = (files.metadata or {}).get("dtype") if files.has_index else None
    if isinstance(getattr(torch, str(named), None), torch.dtype):
        return getattr(torch, str(named))  # type: ignore[no-any-return]
    first = min(files.files)
    for entry in files.in_file(first):
        if entry.dtype in _FLOATS:
            return _FLOATS[entry.dtype]
    raise ModelError(f"{files.path / first} has no float tensor, and config.json names no dtype")


def empty_model(config: Any, dtype: torch.dtype) -> Any:
    """Return the model of a configuration without memory for its weights; raise ModelError where it makes none."""
    auto: Any = transformers.AutoModelForCausalLM
    try:
        with torch.device("meta"):
            return auto.from_config(config, dtype=dtype)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        file = pathlib.Path(config.name_or_path) / CONFIG
        raise ModelError(f"{file}: transformers makes no model of it: {error}") from error


def match(files: TensorFiles, model: Any) -> dict[str, str]:
    """Return the stored name of every parameter of ``model`` that is stored.

    Raises ModelError for a tensor that the model has no place for: left out, it would be another model; for two that
    are one parameter; for one of another shape or type; and for parameters that are not stored.
    """
    places = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    left_out = re.compile("|".join([f"{re.escape(COMPUTED)}$", *(model._keys_to_ignore_on_load_unexpected or ())]))  # noqa: SLF001
    matched: dict[str, str] = {}
    unknown = []
    for stored, entry in files.entries.items():
        name = parameter_name(stored, places, model.base_model_prefix)
        where = f"{files.path / entry.file}: {stored}"
        if name not in places:
            unknown.extend([] if left_out.search(stored) else [f"{stored} in {entry.file}"])
        elif name in matched:
            raise ModelError(f"{where} and {matched[name]} are both {name}; one of them has to go")
        elif entry.shape != places[name]:
            raise ModelError(f"{where} has the shape {list(entry.shape)}, and config.json wants {list(places[name])}")
        elif entry.dtype not in _FLOATS:
            raise ModelError(
                f"{where} is of the type {entry.dtype}; of full precision are {', '.join(_FLOATS)}: where are the"
                " scales of a quantized model, and its quantization_config?"
            )
        else:
            matched[name] = stored
    require_known(files.path, unknown)
    _require_all(files.path / files.found_by, model, matched)
    return matched


def _require_all(path: pathlib.Path, model: Any, matched: Collection[str]) -> None:
    absent = model.state_dict().keys() - set(matched)
    if model.config.tie_word_embeddings:
        # Each stands for the other.
        ends = {EMBEDDING_WEIGHT, HEAD_WEIGHT}
        absent -= ends if ends & set(matched) else set()
    require_all(path, sorted(absent))


def parameter_name(stored: str, places: Collection[str], prefix: str) -> str:
    """Return what transformers takes a stored tensor for: the model's own prefix may be there too often, or not."""
    shorter, longer = stored.removeprefix(f"{prefix}."), f"{prefix}.{stored}"
    if shorter != stored and shorter in places:
        return shorter
    return longer if longer in places else stored


def require_known(path: pathlib.Path, unknown: Iterable[str]) -> None:
    """Raise ModelError for weights that the architecture has no place for: left out, the model would be another one."""
    left_out = sorted(name for name in unknown if not name.endswith(COMPUTED))
    if left_out:
        raise ModelError(
            f"{path} has {len(left_out)} weights that its architecture does not, such as {left_out[0]};"
            " is its config.json that of another model?"
        )


def require_all(path: pathlib.Path, absent: Sequence[str]) -> None:
    """Raise ModelError for parameters that are not stored."""
    if absent:
        raise ModelError(f"{path} lacks {len(absent)} weights, such as {min(absent)}: they would be left at random")


def ties_head(config: Any, embedding: torch.Tensor | None, head: torch.Tensor | None) -> bool:
    """Tell whether the head is the embedding: the configuration says so, and no head of other values is stored.

    The two are compared in the type that the model is loaded in; None stands for a tensor that is not stored.
    """
    if not config.tie_word_embeddings:
        return False
    return embedding is None or head is None or torch.equal(embedding, head)
