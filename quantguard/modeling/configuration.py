"""Reading a model's configuration; families that come with code of their own load as the one they are built like."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError

from quantguard.errors import ModelError

CONFIG = "config.json"


def read_config(path: pathlib.Path) -> Any:
    """Return the configuration of a folder; code that comes with a model is never run.

    Raises ModelError where there is none, it cannot be read or it is not of a causal language model.
    """
    file = path / CONFIG
    if not file.is_file():
        raise ModelError(f"{path} is not a model: expected a folder with config.json, or a .gguf file")
    try:
        stored = json.loads(file.read_text())
        known_as = _BUILT_LIKE.get(stored.get("model_type"))
        config = known_as(stored) if known_as else transformers.AutoConfig.from_pretrained(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StrictDataclassError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    architectures = config.architectures or ["none"]
    if not any(name.endswith("ForCausalLM") for name in architectures):
        raise ModelError(
            f"{path} is not a causal language model: its architecture is {', '.join(architectures)};"
            " quantguard takes architectures that end in ForCausalLM"
        )
    return config


def quantization_settings(path: pathlib.Path) -> dict[str, Any] | None:
    """Return the ``quantization_config`` of a folder's config.json; None where there is none.

    Raises ModelError where config.json is damaged.
    """
    stored = _stored(path).get("quantization_config")
    if stored is not None and not isinstance(stored, dict):
        raise ModelError(f"{path / CONFIG} is damaged: quantization_config is {stored!r}, and not a table of settings")
    return stored


def named_weights(path: pathlib.Path) -> str | None:
    """Return the file of weights that config.json names for transformers to read; None where it leaves that open.

    Raises ModelError where config.json is damaged or names what cannot be read.
    """
    named = _stored(path).get("transformers_weights")
    if named is None:
        return None
    ends = (".safetensors", ".safetensors.index.json")
    if not isinstance(named, str) or pathlib.PurePath(named).name != named or not named.endswith(ends):
        raise ModelError(f"{path / CONFIG}: transformers_weights is {named!r}; possible: a file that ends in {ends}")
    return named


def read_generation_config(path: pathlib.Path, config: Any) -> Any:
    """Return what a folder says of generating, the tokens that end an answer above all; as transformers reads it.

    Raises ModelError for a generation_config.json that is damaged, which transformers passes over.
    """
    file = path / "generation_config.json"
    if not file.is_file():
        return transformers.GenerationConfig.from_model_config(config)
    try:
        stored = json.loads(file.read_text())
        ends = stored.get("eos_token_id")
        listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
        if not all(type(token) is int for token in listed):
            raise ModelError(f"{file}: eos_token_id is {ends!r}; possible: a token, or a list of tokens")
        return transformers.GenerationConfig.from_pretrained(path)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{file} is damaged: {error}") from error


def _stored(path: pathlib.Path) -> dict[str, Any]:
    file = path / CONFIG
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text()).items())
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{file} is damaged: {error}") from error


def _pangu_embedded(stored: dict[str, Any]) -> Any:
    """openPangu-Embedded is a Llama whose four attention projections have biases, and whose MLP has none."""
    own = {"model_type", "architectures", "auto_map", "bias"}
    fields = {name: value for name, value in stored.items() if name not in own}
    return transformers.LlamaConfig(
        **fields, attention_bias=stored["bias"], mlp_bias=False, architectures=["LlamaForCausalLM"]
    )


# By model_type.
_BUILT_LIKE: dict[str | None, Callable[[dict[str, Any]], Any]] = {"PanguEmbedded": _pangu_embedded}
