"""NaN, infinity and overflow in a weight stop every way to a model, by the name of the tensor and its file."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch

import quantguard
from quantguard.checkpoints.native.write import write_tensors
from quantguard.errors import ModelError
from quantguard.modeling import find_decoder
from quantguard.modeling.finite import is_finite
from quantguard.modeling.swapping import QuantizedLayer, swap_linears
from quantguard.numerics import QuantTensor
from quantguard.pipeline import checking
from quantguard.pipeline.exporting import export
from quantguard.records import QuantArgs
from tests.support.small_models import STREAMED, save, small_model

# One of every kind: the ends, a norm, norms of heads, a bias and weights.
TENSORS = (
    "model.embed_tokens.weight",
    "model.norm.weight",
    "lm_head.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.1.self_attn.q_norm.weight",
    "model.layers.1.self_attn.k_proj.bias",
    "model.layers.2.mlp.down_proj.weight",
)
FAULTS = {
    "NaN": (float("nan"), r"holds NaN or infinity: nan at"),
    "infinity": (float("-inf"), r"holds NaN or infinity: -inf at"),
    "overflow": (1e5, r"is infinite in float16: it holds 99840, and the largest number of float16 is 65504"),
}
Route = Callable[[pathlib.Path, pathlib.Path], object]
ROUTES: dict[str, Route] = {
    "load": lambda model, _: quantguard.load(model, dtype="float16"),
    "quantize": lambda model, _: quantguard.quantize(quantguard.load(model, dtype="float16"), "w8a8"),
    "streamed": lambda model, out: quantguard.quantize_to_folder(model, "w8a8", out, dtype="float16"),
    "streamed, with text": lambda model, out: quantguard.quantize_to_folder(model, STREAMED, out, dtype="float16"),
    "export": lambda model, out: export(model, out, form="ascend", recipe="w8a8", dtype="float16"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    model = small_model("qwen3", attention_bias=True).bfloat16()
    return save(model, tmp_path_factory.mktemp("good") / "model")


def spoiled(good: pathlib.Path, folder: pathlib.Path, tensor: str, value: float) -> pathlib.Path:
    """Copy a model with one value of one tensor replaced."""
    folder.mkdir()
    for file in good.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors[tensor].view(-1)[-1] = value
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("tensor", TENSORS)
def test_a_model_with_such_a_weight_is_not_loaded(
    good: pathlib.Path, tmp_path: pathlib.Path, tensor: str, fault: str
) -> None:
    value, told = FAULTS[fault]
    folder = spoiled(good, tmp_path / "model", tensor, value)
    with pytest.raises(ModelError, match=rf"model\.safetensors: {tensor} {told}"):
        quantguard.load(folder, dtype="float16")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("tensor", TENSORS)
def test_nor_is_it_streamed(good: pathlib.Path, tmp_path: pathlib.Path, tensor: str, fault: str) -> None:
    value, told = FAULTS[fault]
    folder = spoiled(good, tmp_path / "model", tensor, value)
    with pytest.raises(ModelError, match=rf"model\.safetensors: {tensor} {told}"):
        quantguard.quantize_to_folder(folder, "w8a8", tmp_path / "quantized", dtype="float16")


@pytest.mark.parametrize("route", ROUTES)
def test_every_way_stops_at_a_weight_that_overflows(good: pathlib.Path, tmp_path: pathlib.Path, route: str) -> None:
    folder = spoiled(good, tmp_path / "model", "model.layers.2.mlp.down_proj.weight", 1e5)
    with pytest.raises(ModelError, match=r"model\.layers\.2\.mlp\.down_proj\.weight is infinite in float16"):
        ROUTES[route](folder, tmp_path / "out")


def test_a_large_weight_is_fine_in_a_type_that_holds_it(good: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = spoiled(good, tmp_path / "model", "model.layers.2.mlp.down_proj.weight", 1e5)
    assert quantguard.load(folder).dtype == "bfloat16"


def test_a_weight_that_is_spoiled_in_memory_is_not_quantized(good: pathlib.Path) -> None:
    loaded = quantguard.load(good)
    with torch.no_grad():
        loaded.model.model.layers[1].mlp.up_proj.weight[3, 4] = torch.inf
    with pytest.raises(
        ModelError, match=r"model\.layers\.1\.mlp\.up_proj\.weight holds NaN or infinity: inf at \[3, 4\]"
    ):
        quantguard.quantize(loaded, "w8a8")


@pytest.fixture(scope="module")
def quantized(good: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("quantized") / "model"
    return quantguard.quantize_to_folder(good, "w8a8", folder).path


def damaged(quantized: pathlib.Path, folder: pathlib.Path, tensor: str, value: float, **config: Any) -> pathlib.Path:
    """Copy a compressed-tensors folder as another tool would have made it, with one value replaced."""
    folder.mkdir()
    for file in quantized.iterdir():
        if file.name != "quantguard.json":
            (folder / file.name).write_bytes(file.read_bytes())
    for file in folder.glob("*.safetensors"):
        tensors = safetensors.torch.load_file(file)
        if tensor in tensors:
            tensors[tensor].view(-1)[-1] = value
            safetensors.torch.save_file(tensors, file, metadata={"format": "pt"})
    stored = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(stored | config))
    return folder


FLOATS = tuple(name for name in TENSORS if "down_proj" not in name)


@pytest.mark.parametrize("tensor", FLOATS)
def test_check_finds_it_in_a_quantized_folder(quantized: pathlib.Path, tmp_path: pathlib.Path, tensor: str) -> None:
    folder = damaged(quantized, tmp_path / "model", tensor, float("nan"))
    (defect,) = checking.check(folder).defects
    assert defect.tensor == tensor
    assert "values are finite; nan is at" in str(defect)
    with pytest.raises(ModelError, match=tensor):
        quantguard.load(folder)


@pytest.mark.parametrize("tensor", [name for name in FLOATS if not name.endswith(".bias")])
def test_check_finds_what_the_type_in_config_json_does_not_hold(
    quantized: pathlib.Path, tmp_path: pathlib.Path, tensor: str
) -> None:
    folder = damaged(quantized, tmp_path / "model", tensor, 1e5, dtype="float16")
    (defect,) = checking.check(folder).defects
    assert defect.tensor == tensor
    assert "is infinite in float16: it holds 99840" in str(defect)
    with pytest.raises(ModelError, match=f"{tensor} is infinite in float16"):
        quantguard.load(folder)


def test_the_bias_of_a_quantized_linear_may_be_as_large_as_float32(
    quantized: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    name = "model.layers.1.self_attn.k_proj.bias"
    folder = damaged(quantized, tmp_path / "model", name, 1e5, dtype="float16")
    assert checking.check(folder).defects == ()
    bias = quantguard.load(folder).model.get_submodule(name.removesuffix(".bias")).bias
    assert (bias.dtype, float(bias[-1])) == (torch.float32, 1e5)


def test_a_good_folder_has_no_such_defect(quantized: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert checking.check(damaged(quantized, tmp_path / "model", "none", 0.0)).defects == ()


def test_a_scale_of_infinity_is_not_put_in_place(good: pathlib.Path) -> None:
    block = find_decoder(quantguard.load(good).model).blocks[0]
    linear = block.linears["model.layers.0.mlp.up_proj"]
    weight = QuantTensor(
        data=torch.zeros(linear.weight.shape, dtype=torch.int8),
        scale=torch.full((linear.out_features, 1), torch.inf),
        zero_point=None,
        args=QuantArgs(num_bits=8, strategy="channel"),
    )
    layers = {"model.layers.0.mlp.up_proj": QuantizedLayer(weight=weight, input_activations=None)}
    with pytest.raises(ModelError, match=r"model\.layers\.0\.mlp\.up_proj\.weight_scale holds NaN or infinity"):
        swap_linears(block, layers, backend="reference", device_type="cpu")


def test_nothing_of_the_kind_is_written(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "model.safetensors"
    with pytest.raises(ModelError, match=r"model\.safetensors is not written: a\.weight holds NaN or infinity"):
        write_tensors(file, {"a.weight": torch.tensor([1.0, torch.nan])})
    assert not file.exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn])
@pytest.mark.parametrize("place", [0, 1, 62, 122])
def test_a_single_value_is_seen_wherever_it_is(dtype: torch.dtype, place: int) -> None:
    values = torch.ones(123).to(dtype)
    assert is_finite(values)
    values[place] = torch.nan
    assert not is_finite(values)


def test_integers_and_what_is_empty_are_finite() -> None:
    assert is_finite(torch.zeros(3, dtype=torch.int8))
    assert is_finite(torch.zeros(0))
    assert is_finite(torch.zeros(2, device="meta"))
