"""Writing a model of ours as AscendV1: a file a block, one block in memory, the folder whole or not at all."""

import json
import pathlib
import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import torch

from quantguard.checkpoints.ascend import support
from quantguard.checkpoints.ascend.description import FILE, VERSION
from quantguard.checkpoints.ascend.encoding import BlockEncoder, rounded_to
from quantguard.checkpoints.ascend.schemes import CACHE, DEQ_SCALE, FLOAT, SCALED_IN_MODEL_TYPE, STATIC, TYPES
from quantguard.checkpoints.ascend.support import BlockPlan
from quantguard.checkpoints.native.encoding import OWN_PREFIX
from quantguard.checkpoints.native.folder import OwnFolder
from quantguard.checkpoints.native.write import write_json, write_tensors
from quantguard.errors import ModelError, UsageError
from quantguard.modeling import Block
from quantguard.modeling.block_state import Tensors
from quantguard.modeling.descriptions import EMBEDDING_WEIGHT, FINAL_NORM, HEAD, HEAD_WEIGHT
from quantguard.numerics.affine import SMALLEST_SCALE
from quantguard.records.files import scratch_beside

_PREFIX = "quant_model_weights"
# What a server reads beside weights and configuration.
_COPIED = ("*.json", "*.py", "*.txt", "*.jinja", "*.model")
_FLOAT16_NOTE = "vLLM-Ascend computes W4A4_DYNAMIC in float16: activations beyond 65504 overflow there, and do not here"


def export(
    folder: OwnFolder, output: pathlib.Path, *, forced: Collection[str], tensor_parallel_size: int
) -> tuple[str, ...]:
    """Write ``folder`` into ``output``; see :func:`quantguard.checkpoints.ascend.export`."""
    support.require_known(forced)
    refused = next(refusals(folder, forced=forced, tensor_parallel_size=tensor_parallel_size), None)
    if refused is not None:
        raise ModelError(refused)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is not empty; give an empty or a new folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    with scratch_beside(output) as scratch:
        staged = scratch / "model"
        staged.mkdir()
        notes = _fill(folder, staged)
        staged.replace(output)
    return notes


def refusals(folder: OwnFolder, *, forced: Collection[str] = (), tensor_parallel_size: int = 1) -> Iterator[str]:
    """Find what of a folder AscendV1 has no place for, or vLLM-Ascend mishandles, by settings and shapes alone."""
    if folder.dtype not in DEQ_SCALE:
        yield (
            f"{folder.path} is {str(folder.dtype).removeprefix('torch.')}; vLLM-Ascend runs bfloat16 and float16:"
            " quantize the model with --dtype bfloat16"
        )
    if not any(folder.state(block).linears for block in folder.decoder.blocks):
        yield f"{folder.path}: no linear is quantized; AscendV1 is for quantized models"
    for block in folder.decoder.blocks:
        plan = BlockPlan(
            block=block,
            state=folder.state(block),
            shapes=folder.shapes(block),
            forced=forced,
            tensor_parallel_size=tensor_parallel_size,
        )
        found = list(plan.refusals())
        yield from found or _lost_scales(folder, block, plan)


def _lost_scales(folder: OwnFolder, block: Block, plan: BlockPlan) -> Iterator[str]:
    """Find scales that the type of the model, which vLLM-Ascend keeps them in, does not hold."""
    names = []
    for group in block.groups.values():
        for name, kind in zip(group.names, plan.kinds(group), strict=True):
            names.extend([f"{name}.weight_scale"] if kind in SCALED_IN_MODEL_TYPE else [])
            names.extend([f"{name}.input_scale"] if kind == STATIC else [])
    if plan.state.kv_cache is not None:
        names.extend(f"{OWN_PREFIX}{block.attention.name}.extension.{which}.scale" for which in ("keys", "values"))
    for name, scale in folder.tensors.read_named(names).items():
        # A channel of zeros, whose scale says nothing, gets another one.
        said = scale[scale > SMALLEST_SCALE] if name.endswith("weight_scale") else scale.flatten()
        if said.numel():
            try:
                rounded_to(folder.dtype, name.removeprefix(OWN_PREFIX), said)
            except ModelError as error:
                yield str(error)


def _fill(folder: OwnFolder, staged: pathlib.Path) -> tuple[str, ...]:
    total = len(folder.decoder.blocks) + 2
    weight_map: dict[str, str] = {}
    types: dict[str, str] = {}
    num_bytes = 0
    for number, (tensors, kinds) in enumerate(_parts(folder), start=1):
        file = f"{_PREFIX}-{number:05d}-of-{total:05d}.safetensors"
        write_tensors(staged / file, tensors)
        weight_map |= dict.fromkeys(tensors, file)
        types |= kinds
        num_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    counted = Counter(kind for name, kind in types.items() if kind in TYPES and name.endswith(".weight"))
    index = {"metadata": {"total_size": num_bytes}, "weight_map": weight_map}
    write_json(staged / f"{_PREFIX}.safetensors.index.json", index)
    write_json(staged / FILE, _settings(counted.most_common(1)[0][0], cache=CACHE in types.values()) | types)
    _write_config(folder, staged)
    lacking = _copy_beside(folder, staged)
    overflow = [_FLOAT16_NOTE] if "W4A4_DYNAMIC" in counted and folder.dtype != torch.float16 else []
    return (*overflow, *lacking)


def _parts(folder: OwnFolder) -> Iterator[tuple[Tensors, dict[str, str]]]:
    """Yield what goes into a file each: the embedding, every block, and norm and head."""
    embedding = folder.tensors.read_named([EMBEDDING_WEIGHT])
    yield embedding, dict.fromkeys(embedding, FLOAT)
    del embedding
    for block in folder.decoder.blocks:
        state, tensors = folder.block(block)
        encoder = BlockEncoder(block=block, state=state, tensors=tensors, dtype=folder.dtype)
        yield encoder.encode(), encoder.types
    heads = [name for name in folder.tensors.names if name.startswith((f"{FINAL_NORM}.", f"{HEAD}."))]
    last = folder.tensors.read_named(heads)
    if folder.config.tie_word_embeddings:
        # A server looks the head up although it is tied.
        last[HEAD_WEIGHT] = folder.tensors.read_named([EMBEDDING_WEIGHT])[EMBEDDING_WEIGHT]
    yield last, dict.fromkeys(last, FLOAT)


def _settings(model_quant_type: str, *, cache: bool) -> dict[str, Any]:
    settings = {
        "version": VERSION,
        "model_quant_type": model_quant_type,
        "group_size": 0,
        "metadata": {},
        "optional": {},
    }
    return settings | ({"kv_cache_type": CACHE, "kv_quant_type": CACHE} if cache else {})


def _write_config(folder: OwnFolder, staged: pathlib.Path) -> None:
    """Write the configuration of the float model, with the type that the scales were made for."""
    config = json.loads((folder.path / "config.json").read_text())
    config.pop("quantization_config", None)
    dtype = str(folder.dtype).removeprefix("torch.")
    names = [name for name in ("dtype", "torch_dtype") if name in config] or ["torch_dtype"]
    write_json(staged / "config.json", config | dict.fromkeys(names, dtype))


def _copy_beside(folder: OwnFolder, staged: pathlib.Path) -> list[str]:
    """Copy tokenizer, template and code; return notes on code that the configuration names and nobody has."""
    beside = {file for pattern in _COPIED for file in folder.path.glob(pattern)}
    for file in beside:
        own = file.name.startswith("quantguard") or file.name.endswith(".index.json")
        if not own and not (staged / file.name).exists():
            shutil.copyfile(file, staged / file.name)
    config = json.loads((staged / "config.json").read_text())
    named = {f"{str(target).split('.')[0].split('--')[-1]}.py" for target in (config.get("auto_map") or {}).values()}
    source = pathlib.Path(folder.manifest.source)
    for name in sorted(named):
        if not (staged / name).exists() and (source / name).is_file():
            shutil.copyfile(source / name, staged / name)
    lacking = sorted(name for name in named if not (staged / name).exists())
    return [f"config.json names {name}, which is not in {folder.path}; put it beside" for name in lacking]
