"""Every way in which a checkpoint of compressed-tensors was damaged here is refused, and the tensor is named."""

import json
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import safetensors.torch
import torch

import quantguard
from quantguard.checkpoints import native
from quantguard.cli.__main__ import main
from quantguard.errors import ModelError
from quantguard.records import QuantArgs, Recipe

W4 = Recipe(name="w4", weights=QuantArgs(num_bits=4, strategy="group", group_size=64, symmetric=False))
W8 = Recipe(
    name="w8",
    weights=QuantArgs(num_bits=8, strategy="channel"),
    input_activations=QuantArgs(num_bits=8, strategy="token", dynamic=True),
)
SHARD = "model-00002-of-00005.safetensors"
UP = "model.layers.1.mlp.up_proj"
Q = "model.layers.1.self_attn.q_proj"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """One checkpoint of integers and one of bit streams, as another tool would leave them."""
    paths = {}
    for recipe in (W4, W8):
        path = tmp_path_factory.mktemp("models") / recipe.name
        quantguard.quantize_to_folder("tiny-reasoner", recipe, path)
        (path / native.MANIFEST).unlink()
        paths[recipe.name] = path
    return paths


def in_shard(change: Callable[[Tensors], None]) -> Callable[[pathlib.Path], None]:
    """Change the tensors of a file, the index left as it is."""

    def damage(folder: pathlib.Path) -> None:
        tensors = safetensors.torch.load_file(folder / SHARD)
        change(tensors)
        safetensors.torch.save_file(tensors, folder / SHARD)

    return damage


def replaced(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[pathlib.Path], None]:
    """Change one tensor."""
    return in_shard(lambda tensors: tensors.__setitem__(name, change(tensors[name]).contiguous()))


def at(value: float, *index: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor[index] = value
        return tensor

    return change


def in_index(change: Callable[[dict[str, str]], None]) -> Callable[[pathlib.Path], None]:
    def damage(folder: pathlib.Path) -> None:
        path = folder / "model.safetensors.index.json"
        index = json.loads(path.read_text())
        change(index["weight_map"])
        path.write_text(json.dumps(index))

    return damage


def in_config(change: Callable[[dict[str, Any]], Any]) -> Callable[[pathlib.Path], None]:
    def damage(folder: pathlib.Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def without(name: str) -> Callable[[pathlib.Path], None]:
    """Leave a tensor out of file and index."""

    def damage(folder: pathlib.Path) -> None:
        in_shard(lambda tensors: tensors.__delitem__(name))(folder)
        in_index(lambda weight_map: weight_map.__delitem__(name))(folder)

    return damage


def extra(name: str, tensor: torch.Tensor) -> Callable[[pathlib.Path], None]:
    def damage(folder: pathlib.Path) -> None:
        in_shard(lambda tensors: tensors.__setitem__(name, tensor))(folder)
        in_index(lambda weight_map: weight_map.__setitem__(name, SHARD))(folder)

    return damage


def truncated(folder: pathlib.Path) -> None:
    content = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(content[: len(content) // 2])


def stale_file(folder: pathlib.Path) -> None:
    shutil.copyfile(folder / SHARD, folder / "model-00002-of-00009.safetensors")


def to_bits(config: dict[str, Any], num_bits: int) -> None:
    config["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"] = num_bits


def split_qkv(config: dict[str, Any]) -> None:
    config["quantization_config"]["ignore"].append(Q)


# What is damaged, by what, and what is named. A scale of -1 and the like are found by quantguard check; those that are
# "loaded" are in the large tensors, which are read when the model is.
CHECKED = {
    "w8": {
        "weight missing": (without(f"{UP}.weight"), f"{UP}.weight: the tensor is missing"),
        "scale missing": (without(f"{UP}.weight_scale"), f"{UP}.weight_scale: the tensor is missing"),
        "bias missing": (without(f"{Q}.bias"), f"{Q}.bias: the tensor is missing"),
        "norm missing": (
            without("model.layers.1.input_layernorm.weight"),
            "model.layers.1.input_layernorm.weight: the tensor is missing",
        ),
        "weight a row short": (replaced(f"{UP}.weight", lambda t: t[:-1]), f"{UP}.weight: its shape is 511, 256"),
        "weight transposed": (replaced(f"{UP}.weight", lambda t: t.t()), f"{UP}.weight: its shape is 256, 512"),
        "weight in bfloat16": (replaced(f"{UP}.weight", lambda t: t.bfloat16()), f"{UP}.weight: its type is BF16"),
        "weight unsigned": (
            replaced(f"{UP}.weight", lambda t: t.view(torch.uint8)),
            f"{UP}.weight: its type is U8; possible: I8",
        ),
        "scale a row short": (
            replaced(f"{UP}.weight_scale", lambda t: t[:-1]),
            f"{UP}.weight_scale: its shape is 511, 1; expected: 512, 1",
        ),
        "scale flat": (replaced(f"{UP}.weight_scale", lambda t: t[:, 0]), f"{UP}.weight_scale: its shape is 512"),
        "scale in integers": (
            replaced(f"{UP}.weight_scale", lambda t: t.to(torch.int32)),
            f"{UP}.weight_scale: its type is I32",
        ),
        "scale negative": (
            replaced(f"{UP}.weight_scale", at(-0.5, 7, 0)),
            f"{UP}.weight_scale: a scale is positive and finite; -0.5 is at [7, 0]",
        ),
        "scale zero": (replaced(f"{UP}.weight_scale", at(0.0, 3, 0)), f"{UP}.weight_scale: a scale is positive"),
        "scale NaN": (replaced(f"{UP}.weight_scale", at(float("nan"), 3, 0)), f"{UP}.weight_scale: a scale is"),
        "scale infinite": (replaced(f"{UP}.weight_scale", at(float("inf"), 3, 0)), f"{UP}.weight_scale: a scale is"),
        "bias NaN": (replaced(f"{Q}.bias", at(float("nan"), 5)), f"{Q}.bias: values are finite; nan is at [5]"),
        "bias of another linear": (
            extra("model.layers.1.self_attn.o_proj.bias", torch.zeros(256)),
            "model.layers.1.self_attn.o_proj.bias: the model has no place for this tensor",
        ),
        "a zero point where none is": (
            extra(f"{UP}.weight_zero_point", torch.zeros(512, 1, dtype=torch.int8)),
            f"{UP}.weight_zero_point: the model has no place",
        ),
        "a layer too many": (
            extra("model.layers.4.mlp.up_proj.weight", torch.zeros(1)),
            "model.layers.4.mlp.up_proj.weight: the model has no place",
        ),
        "file truncated": (truncated, f"{SHARD}: the file is damaged"),
        "file missing": (lambda folder: (folder / SHARD).unlink(), f"{SHARD}: the file is missing"),
        "file of an older model": (stale_file, "model-00002-of-00009.safetensors: no tensor of this file"),
        "index without a tensor": (
            in_index(lambda weight_map: weight_map.__delitem__(f"{UP}.weight_scale")),
            f"{UP}.weight_scale: model.safetensors.index.json does not say that it is in this file",
        ),
        "index with another file": (
            in_index(lambda weight_map: weight_map.__setitem__(f"{UP}.weight", "model-00001-of-00005.safetensors")),
            f"{UP}.weight: model.safetensors.index.json says that it is in this file, and it is not",
        ),
        "index with a tensor too many": (
            in_index(lambda weight_map: weight_map.__setitem__(f"{UP}.weight_g_idx", SHARD)),
            f"{UP}.weight_g_idx: model.safetensors.index.json says",
        ),
        "integers where it says float": (in_config(split_qkv), f"{Q}.weight: its type is I8"),
        "a quantized head": (
            in_config(lambda config: config["quantization_config"].update(ignore=[])),
            "lm_head: a quantized head is not built",
        ),
    },
    "w4": {
        "stream a word short": (
            replaced(f"{UP}.weight_packed", lambda t: t[:, :-1]),
            f"{UP}.weight_packed: its shape is 512, 31; expected: 512, 32",
        ),
        "stream in 64 bits": (
            replaced(f"{UP}.weight_packed", lambda t: t.to(torch.int64)),
            f"{UP}.weight_packed: its type is I64",
        ),
        "stream missing": (without(f"{UP}.weight_packed"), f"{UP}.weight_packed: the tensor is missing"),
        "another shape said": (
            replaced(f"{UP}.weight_shape", at(500, 0)),
            f"{UP}.weight_shape: it holds the shape [512, 256]; 500 is at [0]",
        ),
        "zero points missing": (without(f"{UP}.weight_zero_point"), f"{UP}.weight_zero_point: the tensor is missing"),
        "zero points unpacked": (
            replaced(f"{UP}.weight_zero_point", lambda t: t.repeat(8, 1)),
            f"{UP}.weight_zero_point: its shape is 512, 4; expected: 64, 4",
        ),
        "a group short": (
            replaced(f"{UP}.weight_scale", lambda t: t[:, :-1]),
            f"{UP}.weight_scale: its shape is 512, 3; expected: 512, 4",
        ),
        "3 bits said": (in_config(lambda config: to_bits(config, 3)), "weight_packed: its shape is"),
        "8 bits said": (in_config(lambda config: to_bits(config, 8)), "weight_packed: its shape is"),
    },
}
ENDS = "model-00005-of-00005.safetensors"
CASES = [(base, what) for base, damages in CHECKED.items() for what in damages]


def check(folder: pathlib.Path) -> int:
    with mock.patch.object(sys, "argv", ["quantguard", "check", str(folder)]):
        return main()


def test_there_are_thirty() -> None:
    assert len(CASES) + 1 >= 30


@pytest.mark.parametrize(("base", "what"), CASES)
def test_it_is_refused_by_check_and_by_loading(
    sound: dict[str, pathlib.Path], base: str, what: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, named = CHECKED[base][what]
    folder = tmp_path / "model"
    shutil.copytree(sound[base], folder)
    assert check(folder) == 0
    damage(folder)
    capsys.readouterr()
    assert check(folder) == 1
    assert named in capsys.readouterr().out
    with pytest.raises(ModelError, match="damaged or contradicts itself"):
        quantguard.load(folder)


def test_an_embedding_that_holds_nan_is_refused_by_check_and_by_loading(
    sound: dict[str, pathlib.Path], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "model.embed_tokens.weight"
    folder = tmp_path / "model"
    shutil.copytree(sound["w8"], folder)
    tensors = safetensors.torch.load_file(folder / ENDS)
    tensors[name] = at(float("nan"), 3, 5)(tensors[name])
    safetensors.torch.save_file(tensors, folder / ENDS)
    assert check(folder) == 1
    named = f"{name}: values are finite; nan is at [3, 5]"
    assert named in capsys.readouterr().out
    with pytest.raises(ModelError) as caught:
        quantguard.load(folder)
    assert named in str(caught.value)


def test_a_folder_that_is_no_checkpoint_is_said_to_be_none(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path) == 2
    assert "has no quantized checkpoint" in capsys.readouterr().err
    (tmp_path / "config.json").write_text("{")
    assert check(tmp_path) == 2
    assert "is damaged" in capsys.readouterr().err
