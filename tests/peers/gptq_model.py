"""Quantize a model with GPTQModel to GPTQ or AWQ checkpoints, and record what they compute when it loads them.

python tests/peers/gptq_model.py MODEL OUTPUT --scheme gptq-w4-act-order --group-size 64

Needs an environment of its own, for which GPTQModel's own pin of torch is too high:
pip install torch==2.13.0 transformers==5.24.0 torchao==0.18.0 setuptools, its other requirements, and then
pip install --no-deps --no-build-isolation gptqmodel==7.7.0 (README.md beside this file has the whole line).
"""

import argparse
import copy
import os
import pathlib
from typing import Any

import expected
import torch
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from gptqmodel.nn_modules.qlinear import BaseQuantLinear
from transformers import AutoModelForCausalLM

SCHEMES: dict[str, dict[str, Any]] = {
    "gptq-w4": {"bits": 4, "sym": True, "desc_act": False, "act_group_aware": False},
    "gptq-w4-act-order": {"bits": 4, "sym": True, "desc_act": True},
    "gptq-w4-group-aware": {"bits": 4, "sym": True, "desc_act": False, "act_group_aware": True},
    "gptq-w4-asym": {"bits": 4, "sym": False, "desc_act": False, "act_group_aware": False},
    "gptq-w4-asym-act-order": {"bits": 4, "sym": False, "desc_act": True},
    "gptq-w4-v2-asym": {"bits": 4, "sym": False, "desc_act": False, "act_group_aware": False, "format": "gptq_v2"},
    "gptq-w8": {"bits": 8, "sym": True, "desc_act": False, "act_group_aware": False},
    "gptq-w3": {"bits": 3, "sym": True, "desc_act": False, "act_group_aware": False},
    "gptq-w2-asym": {"bits": 2, "sym": False, "desc_act": False, "act_group_aware": False},
    "awq-gemm-w4": {"bits": 4, "sym": False, "method": "awq", "format": "gemm"},
    "awq-gemm-w4-sym": {"bits": 4, "sym": True, "method": "awq", "format": "gemm"},
}


def main() -> None:
    """Quantize one model by one scheme."""
    # With 2 cores or fewer its pool of threads is too small for what it asks of it, and it ends.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    # It compiles its modules one by one, which takes longer than all that is computed with them here.
    torch._dynamo.config.disable = True
    expected.write(expected.arguments(__doc__, tuple(SCHEMES)), quantize)


def quantize(args: argparse.Namespace, folder: pathlib.Path) -> expected.Made:
    """Write the checkpoint and load it again."""
    tokenizer = expected.tokenizer_of(args.model)
    wanted = QuantizeConfig(**SCHEMES[args.scheme], group_size=args.group_size, device="cpu", offload_to_disk=False)
    model = GPTQModel.load(str(args.model), wanted, dtype=getattr(torch, args.dtype))
    sequences = expected.calibration_sequences(tokenizer, args)
    model.quantize([{"input_ids": s, "attention_mask": [1] * len(s)} for s in sequences], batch_size=1)
    model.save(str(folder))
    tokenizer.save_pretrained(folder)
    awq = SCHEMES[args.scheme].get("method") == "awq"
    backend = BACKEND.AWQ_TORCH if awq else BACKEND.GPTQ_TORCH
    loaded = GPTQModel.load(str(folder), device="cpu", backend=backend, dtype=torch.float16).model
    dense = dequantized(loaded, args.model)
    return expected.Made(
        tool="GPTQModel",
        scheme=args.scheme,
        source=args.model,
        source_dtype=args.dtype,
        packages=("gptqmodel", "transformers"),
        loaded_by=f"GPTQModel.load(folder, backend={backend.name}, dtype=torch.float16); the weight of each of its "
        "quantized modules is what that module gives for the identity matrix, in float16; computed with in float32",
        tokenizer=tokenizer,
        model=dense,
        weights={
            name: module.weight.detach()
            for name, module in dense.named_modules()
            if isinstance(module, torch.nn.Linear) and name.startswith(outermost_layers(dense))
        },
    )


def dequantized(loaded: Any, source: pathlib.Path) -> Any:
    """Return a float32 model with the weights of the loaded one."""
    state = {name: tensor.float() for name, tensor in loaded.state_dict().items()}
    dense = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    modules = dict(loaded.named_modules())
    for name, parameter in dense.named_parameters():
        module = modules[name.rpartition(".")[0]]
        quantized = isinstance(module, BaseQuantLinear) and name.endswith(".weight")
        parameter.data = multiplied(module) if quantized else state[name]
    return dense


@torch.no_grad()
def multiplied(module: Any) -> torch.Tensor:
    """Return the weight that a quantized module multiplies with, float32, shape `[out_features, in_features]`."""
    without_bias = copy.copy(module)
    without_bias.__dict__ = {**module.__dict__, "_buffers": {**module._buffers, "bias": None}}
    result: torch.Tensor = without_bias(torch.eye(module.in_features, dtype=torch.float16))
    return result.float().T.contiguous()


def outermost_layers(model: Any) -> tuple[str, str]:
    """Return how the names of what is in the first and in the last layer begin."""
    return "model.layers.0.", f"model.layers.{model.config.num_hidden_layers - 1}."


if __name__ == "__main__":
    main()
