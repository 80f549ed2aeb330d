"""Reading a model's configuration; families that come with code of their own load as the one they are built like."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import transformers

from quantguard.errors import ModelError


def read_config(path: pathlib.Path) -> Any:
    """Return the configuration of a folder; code that comes with a model is never run.

    Raises ModelError where there is none, it cannot be read or it is not of a causal language model.
    """
    file = path / "config.json"
    if not file.is_file():
        raise ModelError(f"{path} is not a model: expected a folder with config.json, or a .gguf file")
    try:
        stored = json.loads(file.read_text())
        known_as = _BUILT_LIKE.get(stored.get("model_type"))
        config = known_as(stored) if known_as else transformers.AutoConfig.from_pretrained(path)
    except (OSError, ValueError, KeyError, AttributeError) as error:
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
    file = path / "config.json"
    if not file.is_file():
        return None
    try:
        stored = json.loads(file.read_text()).get("quantization_config")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{file} is damaged: {error}") from error
    if stored is not None and not isinstance(stored, dict):
        raise ModelError(f"{file} is damaged: quantization_config is {stored!r}, and not a table of settings")
    return stored


def _pangu_embedded(stored: dict[str, Any]) -> Any:
    """openPangu-Embedded is a Llama whose four attention projections have biases, and whose MLP has none."""
    own = {"model_type", "architectures", "auto_map", "bias"}
    fields = {name: value for name, value in stored.items() if name not in own}
    return transformers.LlamaConfig(
        **fields, attention_bias=stored["bias"], mlp_bias=False, architectures=["LlamaForCausalLM"]
    )


# By model_type.
_BUILT_LIKE: dict[str | None, Callable[[dict[str, Any]], Any]] = {"PanguEmbedded": _pangu_embedded}
