"""Small random models of every supported family, in float64, at odd sizes."""

from typing import Any

import torch
import transformers

from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 63,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM, {}),
    "llama with biases": (transformers.LlamaConfig, transformers.LlamaForCausalLM, {"attention_bias": True}),
    "qwen2, tied": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, {"head_dim": 20}),
}


def build(family: str) -> LoadedModel:
    """Make a model whose norms and biases are not at their initial ones and zeros."""
    config, kind, settings = FAMILIES[family]
    torch.manual_seed(0)
    model = kind(config(**SIZES, **settings)).double().eval()
    _norms_in_float64(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.2, 3.0)
    return LoadedModel(
        name=family,
        model=model,
        tokenizer=None,
        weights_sha256="",
        stored_bytes=1,
        calibration=CalibrationArgs(dataset="none"),
    )


def _norms_in_float64(model: torch.nn.Module) -> None:
    """Replace the norms by torch's own: those of transformers compute in float32 whatever they are given."""
    for name, module in list(model.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            scale: Any = module.weight
            epsilon: Any = module.variance_epsilon
            parent, _, part = name.rpartition(".")
            setattr(model.get_submodule(parent), part, torch.nn.RMSNorm(len(scale), eps=epsilon, dtype=torch.float64))


def tokens(rows: int = 3) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    sequences: list[list[int]] = torch.randint(0, SIZES["vocab_size"], (rows, 31), generator=generator).tolist()
    return sequences


def logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.inference_mode():
        values: torch.Tensor = loaded.model(torch.tensor(tokens())).logits
    return values
