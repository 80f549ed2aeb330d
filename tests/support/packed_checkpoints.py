"""Checkpoints of GPTQ and AWQ written bit by bit, without a line of the importer, and how they look once imported."""

import dataclasses
import json
import pathlib
import shutil
from typing import Any

import numpy as np
import safetensors.torch
import torch
import transformers

from quantguard import catalog
from quantguard.kernels.weight_only_linear import dequantize_packed
from quantguard.modeling import LoadedModel, QuantLinear

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
INDEX = "model.safetensors.index.json"
Numbers = np.ndarray[Any, np.dtype[Any]]


def small_model(*, layers: int = 2) -> Any:
    """A random Qwen2 of odd sizes: three groups of 32 in its MLP, or a short second one of 64."""
    config = transformers.Qwen2Config(
        vocab_size=544,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        architectures=["Qwen2ForCausalLM"],
        dtype="float16",
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.Qwen2ForCausalLM(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.data += 0.1 * torch.randn_like(parameter)
    model.train(mode=False)
    return model


def pack_stream(values: Numbers, bits: int) -> Numbers:
    """Pack rows of integers ``[count, columns]``, bit by bit, into words below each other."""
    words = np.zeros((len(values) * bits // 32, values.shape[1]), np.uint32)
    for row, numbers in enumerate(values.astype(np.uint32)):
        for bit in range(bits):
            place = row * bits + bit
            words[place // 32] |= ((numbers >> np.uint32(bit)) & np.uint32(1)) << np.uint32(place % 32)
    return words.view(np.int32)


def pack_awq(values: Numbers) -> Numbers:
    """Pack integers ``[rows, outputs]`` eight outputs to a word, in AWQ's order."""
    words = np.zeros((len(values), values.shape[1] // 8), np.uint32)
    for word in range(words.shape[1]):
        for place, output in enumerate(AWQ_ORDER):
            words[:, word] |= values[:, word * 8 + output].astype(np.uint32) << np.uint32(4 * place)
    return words.view(np.int32)


@dataclasses.dataclass
class Written:
    """The parts of a checkpoint, to be changed and written, and the float weights that it stands for."""

    tensors: dict[str, torch.Tensor]
    config: dict[str, Any]
    weights: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)

    def copy(self) -> "Written":
        config = json.loads(json.dumps(self.config))
        return Written({name: tensor.clone() for name, tensor in self.tensors.items()}, config, self.weights)

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = self.config["quantization_config"]
        return found

    def save(self, folder: pathlib.Path, *, shards: int = 1) -> pathlib.Path:
        """Write configuration, tokenizer and tensors; layer 0 and the embedding are the first of two shards."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        for file in tokenizer_files():
            shutil.copyfile(file, folder / file.name)
        if shards == 1:
            safetensors.torch.save_file(self.tensors, folder / "model.safetensors", metadata={"format": "pt"})
            return folder
        first = {n: t for n, t in self.tensors.items() if ".layers.0." in n or "embed" in n}
        rest = {n: t for n, t in self.tensors.items() if n not in first}
        weight_map: dict[str, str] = {}
        for number, part in enumerate((first, rest), start=1):
            name = f"model-0000{number}-of-00002.safetensors"
            safetensors.torch.save_file(part, folder / name, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(part, name)
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        return folder


def tokenizer_files() -> list[pathlib.Path]:
    entry = catalog.find("tiny-reasoner")
    assert entry is not None
    folder = catalog.folder(entry)
    return [file for file in folder.iterdir() if file.name.startswith(("tokenizer", "chat_template"))]


def write_gptq(
    model: Any,
    *,
    bits: int = 4,
    group_size: int = 32,
    sym: bool = True,
    desc_act: bool = False,
    checkpoint_format: str = "gptq",
    float_linears: tuple[str, ...] = (),
) -> Written:
    """Round every linear to the nearest and write it as GPTQ."""
    written, random = _begin(model, float_linears), np.random.default_rng(1)
    for name, linear in _linears(model, float_linears):
        weight = linear.weight.detach().float().numpy().T
        size = weight.shape[0] if group_size == -1 else group_size
        groups = np.arange(len(weight)) // size
        if desc_act:
            groups = random.permutation(groups)
        scale, zero = _choose(weight, groups, bits=bits, sym=sym)
        codes = np.clip(np.round(weight / scale[groups]) + zero[groups], 0, 2**bits - 1).astype(np.int64)
        stored_zero = zero - (1 if checkpoint_format == "gptq" else 0)
        written.tensors |= _tensors(
            name,
            qweight=pack_stream(codes, bits),
            qzeros=np.ascontiguousarray(pack_stream(stored_zero.T, bits).T),
            scales=scale.astype(np.float16),
            g_idx=groups.astype(np.int32),
        )
        written.weights[name] = torch.from_numpy(((codes - zero[groups]) * scale[groups]).astype(np.float32).T)
    written.config["quantization_config"] = {
        "quant_method": "gptq",
        "bits": bits,
        "group_size": group_size,
        "sym": sym,
        "desc_act": desc_act,
        "checkpoint_format": checkpoint_format,
        "lm_head": False,
        "pack_dtype": "int32",
        "meta": {"quantizer": ["a test"]},
    }
    return written


def write_awq(
    model: Any, *, group_size: int = 32, zero_point: bool = True, float_linears: tuple[str, ...] = ()
) -> Written:
    """Round every linear to the nearest and write it as AWQ's gemm."""
    written = _begin(model, float_linears)
    for name, linear in _linears(model, float_linears):
        weight = linear.weight.detach().float().numpy().T
        groups = np.arange(len(weight)) // (weight.shape[0] if group_size == -1 else group_size)
        scale, zero = _choose(weight, groups, bits=4, sym=not zero_point)
        codes = np.clip(np.round(weight / scale[groups]) + zero[groups], 0, 15).astype(np.int64)
        parts = {"qweight": pack_awq(codes), "qzeros": pack_awq(zero), "scales": scale.astype(np.float16)}
        written.tensors |= _tensors(name, **parts)
        written.weights[name] = torch.from_numpy(((codes - zero[groups]) * scale[groups]).astype(np.float32).T)
    written.config["quantization_config"] = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": group_size,
        "zero_point": zero_point,
        "version": "gemm",
        "modules_to_not_convert": list(float_linears) or None,
    }
    return written


def _begin(model: Any, float_linears: tuple[str, ...]) -> Written:
    """What stays float, and the configuration."""
    quantized = tuple(f"{name}.weight" for name, _ in _linears(model, float_linears))
    tied = model.config.tie_word_embeddings
    floats = {
        name: tensor.detach().half().contiguous().clone()
        for name, tensor in model.state_dict().items()
        if name not in quantized and not (tied and name == "lm_head.weight")
    }
    config = json.loads(model.config.to_json_string(use_diff=False))
    config.pop("_name_or_path", None)
    return Written(floats, {**config, "dtype": "float16", "architectures": [type(model).__name__]})


def _linears(model: Any, float_linears: tuple[str, ...]) -> list[tuple[str, torch.nn.Linear]]:
    found = [(name, module) for name, module in model.named_modules() if name.endswith(LINEARS)]
    return [(name, module) for name, module in found if not name.endswith(float_linears or ("-",))]


def _choose(weight: Numbers, groups: Numbers, *, bits: int, sym: bool) -> tuple[Numbers, Numbers]:
    """Scales, which float16 holds, and zero points of each group of inputs and output."""
    scales, zeros = [], []
    for group in range(groups.max() + 1):
        part = weight[groups == group]
        if sym:
            scales.append(np.abs(part).max(0) / (2 ** (bits - 1) - 1))
            zeros.append(np.full(part.shape[1], 2 ** (bits - 1)))
        else:
            low, high = np.minimum(part.min(0), 0), np.maximum(part.max(0), 0)
            scales.append((high - low) / (2**bits - 1))
            zeros.append(np.clip(np.round(-low / scales[-1]), 1, 2**bits - 1))
    return np.stack(scales).astype(np.float16).astype(np.float32), np.stack(zeros).astype(np.int64)


def _tensors(name: str, **parts: Numbers) -> dict[str, torch.Tensor]:
    return {f"{name}.{part}": torch.from_numpy(np.ascontiguousarray(values)) for part, values in parts.items()}


def weights_of(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    """The float32 weight that each quantized linear on the reference's kernels stands for, inputs in their order."""
    found = {}
    for name, module in loaded.model.named_modules():
        if isinstance(module, QuantLinear):
            buffers = {part.removeprefix("weight_"): getattr(module, part) for part in module.packed_names}
            weight = dequantize_packed(buffers, module.in_features, module.args)
            if module.input_permutation is not None:
                weight = weight[:, torch.argsort(module.input_permutation)]
            found[name] = weight
    return found


def float_twin(model: Any, written: Written) -> Any:
    """A float model with the weights that a checkpoint stands for."""
    state = {name: tensor.float() for name, tensor in written.tensors.items() if tensor.dtype == torch.float16}
    known = set(model.state_dict())
    state = {name: tensor for name, tensor in state.items() if name in known}
    state |= {f"{name}.weight": weight for name, weight in written.weights.items()}
    twin = type(model)(model.config).float()
    twin.load_state_dict(state, strict=not model.config.tie_word_embeddings)
    return twin.eval()
