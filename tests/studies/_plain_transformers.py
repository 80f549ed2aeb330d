"""Load a folder by transformers and compressed-tensors alone, and write down what comes out.

python tests/studies/_plain_transformers.py FOLDER PROMPTS.json OUTPUT.safetensors [decompress]

PROMPTS holds token ids. Written are the input and output of every linear of the blocks on the first prompt, logits on
it, and the tokens that greedy generation adds to each. With "decompress", compressed-tensors turns every linear into
floats, and transformers loads those: its own loader (5.23) takes no asymmetric bit streams, llm-compressor's neither.
"""

import json
import os
import pathlib
import sys
from typing import Any

if __name__ == "__main__":
    # Set to nothing, a module cannot be imported: what is shown works without quantguard.
    sys.modules["quantguard"] = None  # type: ignore[assignment]
    os.environ["TQDM_DISABLE"] = "1"

import safetensors.torch
import torch
import transformers
from torch import nn

MAX_NEW_TOKENS = 128


def greedy(model: Any, prompts: list[list[int]]) -> list[list[int]]:
    """Continue each prompt by the likeliest tokens."""
    texts = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=MAX_NEW_TOKENS)
        texts.append(whole[0, len(prompt) :].tolist())
    return texts


def decompressed(folder: pathlib.Path) -> Any:
    """Load a model whose linears compressed-tensors has turned into floats."""
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationScheme

    config = transformers.AutoConfig.from_pretrained(folder)
    (group,) = config.quantization_config["config_groups"].values()
    del config.quantization_config
    tensors = {
        n: t for file in folder.glob("model-*.safetensors") for n, t in safetensors.torch.load_file(file).items()
    }
    for name in [name.removesuffix("_packed") for name in tensors if name.endswith(".weight_packed")]:
        prefix = name.removesuffix("weight")
        stored = {key.removeprefix(prefix): tensors.pop(key) for key in list(tensors) if key.startswith(name)}
        tensors[name] = PackedQuantizationCompressor.decompress(stored, QuantizationScheme(**group))["weight"]
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_config(config, dtype=torch.float32)
    absent = set(model.load_state_dict(tensors, strict=False).missing_keys)
    assert absent <= {"lm_head.weight"}, absent
    model.tie_weights()
    return model.eval()


def main(folder: str, prompts_file: str, output: str, how: str = "load") -> None:
    prompts = json.loads(pathlib.Path(prompts_file).read_text())
    if how == "decompress":
        model: Any = decompressed(pathlib.Path(folder))
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found: dict[str, torch.Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if name.startswith("model.layers.") and name.endswith("_proj"):

            def note(_: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor, name: str = name) -> None:
                found[f"{name}.input"], found[f"{name}.output"] = inputs[0].clone(), out.clone()

            handles.append(module.register_forward_hook(note))
    with torch.inference_mode():
        found["logits"] = model(torch.tensor([prompts[0]])).logits
        for handle in handles:
            handle.remove()
        texts = greedy(model, prompts)
    found |= {f"text.{index}": torch.tensor(text) for index, text in enumerate(texts)}
    safetensors.torch.save_file(found, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
