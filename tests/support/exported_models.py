"""Small random models of the architectures that are exported, and recipes on little text."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import torch
import transformers

import quantguard
from quantguard import recipes
from quantguard.records import CalibrationArgs, QuantArgs, Recipe

FEW = CalibrationArgs(dataset="worked-problems", num_samples=4, max_length=64)
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
MODELS = ("tiny-reasoner", "qwen2", "llama", "openpangu")


@functools.cache
def _tokenizer() -> transformers.PreTrainedTokenizerBase:
    found: transformers.PreTrainedTokenizerBase = quantguard.load("tiny-reasoner").tokenizer
    return found


def write(name: str, folder: pathlib.Path, dtype: str) -> str | pathlib.Path:
    """Write a random model of a type and return where it is; tiny-reasoner is its own."""
    if name == "tiny-reasoner":
        return name
    torch.manual_seed(0)
    common: dict[str, Any] = SIZES | {"vocab_size": len(_tokenizer()), "dtype": dtype}
    model: Any
    if name == "qwen2":
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**common, tie_word_embeddings=True))
    else:
        biases = name == "openpangu"
        config = transformers.LlamaConfig(**common, attention_bias=biases, tie_word_embeddings=False)
        model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith("bias"):
                parameter.normal_()
            elif "norm" in parameter_name:
                parameter.uniform_(0.5, 1.5)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    if name == "openpangu":
        _as_published(folder)
    return folder


def _as_published(folder: pathlib.Path) -> None:
    stored = json.loads((folder / "config.json").read_text())
    del stored["attention_bias"], stored["mlp_bias"]
    own = {
        "model_type": "PanguEmbedded",
        "architectures": ["PanguEmbeddedForCausalLM"],
        "auto_map": {"AutoConfig": "configuration_openpangu_dense.PanguEmbeddedConfig"},
        "bias": True,
    }
    (folder / "config.json").write_text(json.dumps(stored | own))
    (folder / "configuration_openpangu_dense.py").write_text("# the configuration's own code\n")


def per_token(num_bits: int) -> QuantArgs:
    return QuantArgs(num_bits=num_bits, strategy="token", dynamic=True)


def recipe(name: str) -> Recipe:
    """Return the recipe of a type that can be exported."""
    channel = {bits: QuantArgs(num_bits=bits, strategy="channel") for bits in (4, 8)}
    if name == "W8A8-C8":
        return dataclasses.replace(recipes.load_recipe("smoothquant-w8a8kv8-static"), calibration=FEW)
    if name == "W4A4_FLATQUANT_DYNAMIC":
        shipped = recipes.load_recipe("flatquant-w4a4-ascend")
        brief = {"learning_rate": 5e-3, "epochs": 2, "warm_up_steps": 0, "parametrization": "direct"}
        options = {"flatquant": shipped.options["flatquant"] | brief}
        few = CalibrationArgs(dataset="worked-problems", num_samples=2, max_length=48)
        return dataclasses.replace(shipped, options=options, rounding="nearest", calibration=few)
    activations = {
        "W8A8_DYNAMIC": per_token(8),
        "W8A16": None,
        "W4A4_DYNAMIC": per_token(4),
        "W4A8_DYNAMIC": per_token(8),
    }
    weights = channel[4 if name.startswith("W4") else 8]
    return Recipe(name=name.lower(), weights=weights, input_activations=activations[name], calibration=FEW)


TYPES = ("W8A8-C8", "W8A8_DYNAMIC", "W8A16", "W4A4_DYNAMIC", "W4A4_FLATQUANT_DYNAMIC")
