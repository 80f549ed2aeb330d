"""Quantize a model with llm-compressor, and record what its checkpoint computes when transformers loads it.

python tests/peers/llm_compressor.py MODEL OUTPUT --scheme w4a16-sym --group-size 64

Needs an environment of its own: pip install torch==2.13.0 llmcompressor==0.14.0.1
(which brought compressed-tensors 0.19.0 and transformers 5.17.0).
"""

import argparse
import pathlib
from typing import Any

import datasets
import expected
import torch
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform import AWQModifier, SmoothQuantModifier
from transformers import AutoModelForCausalLM

TOKENS = {"num_bits": 8, "type": "int", "strategy": "token", "dynamic": True, "symmetric": True}
TENSOR = {"num_bits": 8, "type": "int", "strategy": "tensor", "dynamic": False, "symmetric": True}
CHANNELS = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}
# What is done before rounding, the type of the weights and of the activations, and what the modifier is told besides.
SCHEMES: dict[str, dict[str, Any]] = {
    "w8a8-dynamic": {"weights": CHANNELS, "input_activations": TOKENS},
    "w8a8-dynamic-kv8": {"weights": CHANNELS, "input_activations": TOKENS, "kv_cache_scheme": TENSOR},
    "w8a8-smoothquant": {"weights": CHANNELS, "input_activations": TOKENS, "before": SmoothQuantModifier},
    "w8a8-smoothquant-static": {"weights": CHANNELS, "input_activations": TENSOR, "before": SmoothQuantModifier},
    "w8a8-static-asym": {"weights": CHANNELS, "input_activations": {**TENSOR, "symmetric": False}},
    "w8a16": {"weights": CHANNELS},
    "w4a16-sym": {"weights": {"num_bits": 4, "symmetric": True}},
    "w4a16-asym": {"weights": {"num_bits": 4, "symmetric": False}},
    "w3a16-sym": {"weights": {"num_bits": 3, "symmetric": True}},
    "w4a8-dynamic": {"weights": {"num_bits": 4, "symmetric": True}, "input_activations": TOKENS},
    "w4a16-awq-asym": {"weights": {"num_bits": 4, "symmetric": False}, "before": AWQModifier},
    "w4a16-gptq-static": {"weights": {"num_bits": 4, "symmetric": True}, "actorder": "static"},
}


def main() -> None:
    """Quantize one model by one scheme."""
    args = expected.arguments(__doc__, tuple(SCHEMES))
    # Its AWQ pins memory, which torch refuses without an accelerator: unpinned memory is what a CPU works on anyhow.
    torch.Tensor.pin_memory = lambda self, *_args: self  # type: ignore[method-assign]
    expected.write(args, quantize)


def quantize(args: argparse.Namespace, folder: pathlib.Path) -> expected.Made:
    """Write the checkpoint and load it again."""
    tokenizer = expected.tokenizer_of(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype))
    sequences = expected.calibration_sequences(tokenizer, args)
    dataset = datasets.Dataset.from_dict({"input_ids": sequences, "attention_mask": [[1] * len(s) for s in sequences]})
    oneshot(
        model=model,
        dataset=dataset,
        recipe=modifiers(args.scheme, group_size=args.group_size),
        max_seq_length=args.length,
        num_calibration_samples=len(sequences),
        shuffle_calibration_samples=False,
    )
    model.save_pretrained(folder, save_compressed=True)
    tokenizer.save_pretrained(folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # Weights are decompressed when they are first used.
    loaded(torch.tensor([sequences[0][:8]]))
    return expected.Made(
        tool="llm-compressor",
        scheme=args.scheme,
        source=args.model,
        source_dtype=args.dtype,
        packages=("llmcompressor", "compressed-tensors", "transformers"),
        loaded_by="transformers AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)",
        tokenizer=tokenizer,
        model=loaded,
        weights=weights(loaded),
    )


def modifiers(scheme: str, *, group_size: int) -> list[Any]:
    """Return what llm-compressor is asked to do: all linears but the head."""
    wanted = dict(SCHEMES[scheme])
    weight_args = {"type": "int", "strategy": "group", "group_size": group_size, **wanted["weights"]}
    if weight_args["strategy"] != "group":
        del weight_args["group_size"]
    group = {"targets": ["Linear"], "weights": weight_args}
    if "input_activations" in wanted:
        group["input_activations"] = wanted["input_activations"]
    told: dict[str, Any] = {"config_groups": {"group_0": group}, "ignore": ["lm_head"]}
    if "kv_cache_scheme" in wanted:
        told["kv_cache_scheme"] = wanted["kv_cache_scheme"]
    if "actorder" in wanted:
        return [GPTQModifier(**told, actorder=wanted["actorder"])]
    before = [wanted["before"]()] if "before" in wanted else []
    return [*before, QuantizationModifier(**told)]


def weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the weights that the linears of the first and the last layer multiply with."""
    layers = model.model.layers
    return {
        f"model.layers.{index}.{name}": module.weight.detach()
        for index in (0, len(layers) - 1)
        for name, module in layers[index].named_modules()
        if isinstance(module, torch.nn.Linear)
    }


if __name__ == "__main__":
    main()
