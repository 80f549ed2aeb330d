"""Quantize a model with msModelSlim to AscendV1 checkpoints, and record what its own model computes before it is left.

python tests/peers/ms_model_slim.py MODEL OUTPUT --scheme w8a8-static --dtype bfloat16

msModelSlim cannot load what it writes: expected.* come from the model that it has in memory when it has written, whose
modules round activations and multiply in floating point as an NPU would in integers. From a float32 model it writes
what it has; from bfloat16 and float16 it also rounds what it writes (deq_scale, quant_bias, scales), which expected.*
are without. Needs an environment of its own:
pip install torch==2.13.0 transformers==4.51.0 msmodelslim==26.1.0 (README.md beside this file has the whole line).
"""

import argparse
import json
import pathlib
import tempfile
from typing import Any

import expected
import torch
import yaml
from msmodelslim.cli.naive_quantization.__main__ import main as run_msmodelslim
from msmodelslim.core.const import DeviceType
from msmodelslim.ir.api import calculate_qparam, fake_quantize
from msmodelslim.ir.qal import QDType, QScope, QStorage
from msmodelslim.ir.w4a8_dynamic import W4A8DynamicFakeQuantLinear
from msmodelslim.ir.w8a8_dynamic import W8A8DynamicPerChannelFakeQuantLinear
from msmodelslim.ir.w8a8_pdmix import W8A8PDMixFakeQuantLinear
from msmodelslim.utils.security.model import SafeGenerator
from safetensors.torch import load_file, save_file

CHANNELS = {"scope": "per_channel", "dtype": "int8", "symmetric": True, "method": "minmax"}
TOKENS = {"scope": "per_token", "dtype": "int8", "symmetric": True, "method": "minmax"}
TENSOR = {"scope": "per_tensor", "dtype": "int8", "symmetric": False, "method": "minmax"}
INT4 = {"dtype": "int4"}
CACHE = {"type": "dynamic_cache", "include": ["*"], "qconfig": {**CHANNELS, "symmetric": True}}


def linears(weight: dict[str, Any], act: dict[str, Any] | None) -> dict[str, Any]:
    """Return the step of a configuration that rounds all linears but the head."""
    qconfig = {"weight": weight} if act is None else {"act": act, "weight": weight}
    return {"type": "linear_quant", "qconfig": qconfig, "include": ["*"], "exclude": ["lm_head"]}


SMOOTH = {"type": "iter_smooth", "include": ["*"]}
FLAT = {"type": "flatquant", "include": ["*"], "exclude": ["lm_head"]}
# linear_quant has no int4 activations: msModelSlim's own recipes make them so.
ROUNDED_TO_INT4 = {
    "type": "autoround_quant",
    "iters": 4,
    "strategies": [
        {
            "qconfig": {
                "weight": {**CHANNELS, **INT4, "method": "autoround", "ext": {"scale_dtype": "bfloat16"}},
                "act": {**TOKENS, **INT4, "ext": {"scale_dtype": "bfloat16"}},
            },
            "include": ["*"],
        }
    ],
}
# The steps of the second generation of its services, or the settings of the first.
SCHEMES: dict[str, list[dict[str, Any]] | dict[str, Any]] = {
    "w8a8-static": [linears(CHANNELS, TENSOR)],
    "w8a8-static-smooth": [SMOOTH, linears(CHANNELS, TENSOR)],
    "w8a8-dynamic": [linears(CHANNELS, TOKENS)],
    "w8a8-mix": [linears(CHANNELS, {**TENSOR, "scope": "pd_mix"})],
    "w8a8-dynamic-c8": [CACHE, linears(CHANNELS, TOKENS)],
    "w8a16": [linears(CHANNELS, None)],
    "w4a8-dynamic": [linears(CHANNELS | INT4, TOKENS)],
    "w4a4-dynamic": [ROUNDED_TO_INT4],
    "w4a4-flatquant": [FLAT, ROUNDED_TO_INT4],
    # FlatQuant alone rounds nothing: its type in the description is FLOAT_FLATQUANT.
    "flatquant-float": [FLAT],
    "v0-w8a8-static": {"w_bit": 8, "a_bit": 8, "mm_tensor": False},
    "v0-w8a8-dynamic": {"w_bit": 8, "a_bit": 8, "mm_tensor": False, "is_dynamic": True},
    "v0-w8a8-c8": {"w_bit": 8, "a_bit": 8, "mm_tensor": False, "use_kvcache_quant": True},
    "v0-w8a16": {"w_bit": 8, "a_bit": 16, "mm_tensor": False},
}
MODEL_TYPES = {"qwen2": "Qwen2.5-7B-Instruct", "llama": "default"}


def main() -> None:
    """Quantize one model by one scheme."""
    expected.write(expected.arguments(__doc__, tuple(SCHEMES)), quantize)


def quantize(args: argparse.Namespace, folder: pathlib.Path) -> expected.Made:
    """Write the checkpoint and return the model that msModelSlim wrote it from."""
    kept: list[Any] = []
    load_model = SafeGenerator.get_model_from_pretrained

    def load_and_keep(**told: Any) -> Any:
        model = load_model(**told)
        if args.scheme.startswith("v0"):
            # The first generation cannot write tensors that share memory, as tied embeddings do.
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
        kept.append(model)
        return model

    SafeGenerator.get_model_from_pretrained = load_and_keep
    SafeGenerator.get_tokenizer_from_pretrained = lambda model_path, **_: expected.tokenizer_of(model_path)
    with tempfile.TemporaryDirectory() as workspace:
        source = older_layout(args.model, pathlib.Path(workspace, "source"), args.dtype)
        tokenizer = expected.tokenizer_of(source)
        texts = [tokenizer.decode(ids) for ids in expected.calibration_sequences(tokenizer, args)]
        dataset = pathlib.Path(workspace, "calibration.json")
        dataset.write_text(json.dumps(texts), encoding="utf-8")
        recipe = pathlib.Path(workspace, "recipe.yaml")
        recipe.write_text(yaml.safe_dump(configuration(args.scheme, str(dataset))), encoding="utf-8")
        model_type = json.loads((source / "config.json").read_text(encoding="utf-8"))["model_type"]
        flat = "flatquant" in args.scheme and not args.scheme.startswith("v0")
        run_msmodelslim(
            argparse.Namespace(
                model_type="Qwen3-8B" if flat else MODEL_TYPES[model_type],
                model_path=str(source),
                save_path=str(folder),
                device=DeviceType.CPU.value,
                quant_type=None,
                config_path=str(recipe),
                trust_remote_code=False,
                debug=False,
            )
        )
    (model,) = kept
    for kind in (W8A8DynamicPerChannelFakeQuantLinear, W8A8PDMixFakeQuantLinear, W4A8DynamicFakeQuantLinear):
        kind.forward = multiply_rounded_tokens
    return expected.Made(
        tool="msModelSlim",
        scheme=args.scheme,
        source=args.model,
        source_dtype=args.dtype,
        packages=("msmodelslim", "transformers"),
        loaded_by="the model that msModelSlim has in memory when it has written, converted to float32",
        tokenizer=tokenizer,
        model=model.float().eval(),
        weights={},
    )


def multiply_rounded_tokens(module: Any, inputs: torch.Tensor) -> torch.Tensor:
    """Round each token by a scale of its own and multiply: what these modules write, and an NPU does, but they do not.

    Their own forward takes one scale for each channel, over all tokens: what follows a token changes what it gives.
    """
    rows = inputs.reshape(-1, inputs.shape[-1])
    lowest, highest = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
    parameters = calculate_qparam(lowest, highest, QDType.INT8, QScope.PER_TOKEN, True)
    rounded = fake_quantize(QStorage(QDType.FLOAT, rows), parameters).value.reshape(inputs.shape)
    weight = module.weight.float() * module.weight_scale.reshape(-1, 1)
    return torch.nn.functional.linear(rounded, weight, module.bias)


def configuration(scheme: str, dataset: str) -> dict[str, Any]:
    """Return the configuration file that msModelSlim reads."""
    wanted = SCHEMES[scheme]
    label = {"w_bit": 8, "a_bit": 8, "is_sparse": False, "kv_cache": False}
    metadata = {"config_id": scheme, "score": 90, "verified_model_types": [], "label": label}
    if isinstance(wanted, dict):
        spec = {"calib_cfg": {**wanted, "disable_names": ["lm_head"]}, "calib_dataset": dataset}
        spec["calib_save_params"] = {"part_file_size": 4}
        return {"apiversion": "modelslim_v0", "metadata": metadata, "spec": spec}
    saver = [{"type": "ascendv1_saver", "part_file_size": 4}]
    steps: dict[str, Any] = {"process": wanted, "save": saver, "dataset": dataset, "runner": "model_wise"}
    return {"apiversion": "modelslim_v1", "metadata": metadata, "spec": steps}


def older_layout(model: pathlib.Path, folder: pathlib.Path, dtype: str) -> pathlib.Path:
    """Write the float model as transformers 4 reads it, in the dtype that was asked for."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((model / name).read_bytes())
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config |= {"torch_dtype": dtype, "rope_theta": config.pop("rope_parameters")["rope_theta"]}
    del config["dtype"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = {name: t.to(getattr(torch, dtype)) for name, t in load_file(model / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


if __name__ == "__main__":
    main()
