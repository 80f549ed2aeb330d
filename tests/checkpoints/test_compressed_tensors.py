"""Checkpoints of compressed-tensors are read as what they say, and what is not built is refused by its name."""

import copy
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import pytest
import safetensors.torch
import torch

import quantguard
from quantguard import recipes
from quantguard.checkpoints import native, recognise
from quantguard.checkpoints.compressed_tensors import config as ct_config
from quantguard.errors import ModelError, QuantguardError
from quantguard.modeling import LoadedModel
from quantguard.pipeline import checking, opening
from quantguard.records import CalibrationArgs, LayerArgs, Override, QuantArgs, Recipe

FEW = CalibrationArgs(dataset="worked-problems", num_samples=4, max_length=64)
TOKENS = torch.arange(3, 33)[None]
STUDIES = pathlib.Path(__file__).parents[1] / "studies"
EIGHT = QuantArgs(num_bits=8, strategy="channel")
TOKEN = QuantArgs(num_bits=8, strategy="token", dynamic=True)

RECIPES = {
    "w8a8": recipes.load_recipe("w8a8"),
    "w8a16 asymmetric": Recipe(name="a", weights=QuantArgs(num_bits=8, strategy="channel", symmetric=False)),
    "w4a8 in groups": Recipe(
        name="b", weights=QuantArgs(num_bits=4, strategy="group", group_size=64), input_activations=TOKEN
    ),
    "w4a16 asymmetric": Recipe(
        name="c", weights=QuantArgs(num_bits=4, strategy="group", group_size=128, symmetric=False)
    ),
    "w3a16": recipes.load_recipe("w3a16"),
    "w2a16": Recipe(name="d", weights=QuantArgs(num_bits=2, strategy="group", group_size=32)),
    "static": Recipe(
        name="e", weights=EIGHT, input_activations=QuantArgs(num_bits=8, strategy="tensor"), calibration=FEW
    ),
    "mixed": Recipe(
        name="f",
        weights=EIGHT,
        input_activations=TOKEN,
        ignore=("lm_head", "model.layers.0.mlp.down_proj"),
        overrides=(
            Override(targets=("o_proj",), weights=QuantArgs(num_bits=4, strategy="group", group_size=64)),
            Override(targets=("model.layers.1.mlp.*",), weights=QuantArgs(num_bits=5, strategy="channel")),
        ),
    ),
}


def logits(model: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.model(TOKENS).logits
    return found


def foreign(recipe: Recipe, path: pathlib.Path) -> pathlib.Path:
    """A folder as another tool would have left it: without what only quantguard reads."""
    quantguard.quantize_to_folder("tiny-reasoner", recipe, path)
    (path / native.MANIFEST).unlink()
    return path


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_read_as_the_model_that_was_written(name: str, tmp_path: pathlib.Path) -> None:
    in_memory = quantguard.quantize(quantguard.load("tiny-reasoner"), RECIPES[name])
    path = foreign(RECIPES[name], tmp_path / "model")
    assert recognise(path) == "compressed-tensors"
    loaded = quantguard.load(path)
    assert torch.equal(logits(loaded), logits(in_memory))
    assert loaded.recipe is not None
    assert loaded.checkpoint == path
    assert loaded.source is None


@pytest.mark.parametrize("planted", ["a scale too large", "rows swapped"])
def test_another_weight_would_be_seen(planted: str, tmp_path: pathlib.Path) -> None:
    in_memory = quantguard.quantize(quantguard.load("tiny-reasoner"), RECIPES["w8a8"])
    path = foreign(RECIPES["w8a8"], tmp_path / "model")
    file = path / "model-00002-of-00005.safetensors"
    tensors = safetensors.torch.load_file(file)
    name = "model.layers.1.mlp.up_proj." + ("weight_scale" if "scale" in planted else "weight")
    changed = tensors[name].clone()
    changed[:2] = changed[:2] * 1.01 if "scale" in planted else changed[:2].flip(0)
    safetensors.torch.save_file({**tensors, name: changed}, file)
    assert not torch.equal(logits(quantguard.load(path)), logits(in_memory))


@pytest.mark.parametrize("name", ["w8a8", "w4a16 asymmetric", "w3a16", "static"])
def test_transformers_loads_it_without_quantguard(name: str, tmp_path: pathlib.Path) -> None:
    sys.path.insert(0, str(STUDIES))
    try:
        import round_trip
    finally:
        sys.path.remove(str(STUDIES))
    path = quantguard.quantize_to_folder("tiny-reasoner", RECIPES[name], tmp_path / "model").path
    loaded = quantguard.load(path)
    (tmp_path / "prompts.json").write_text(json.dumps(round_trip.prompts_for(loaded, 1)))
    output = tmp_path / "output.safetensors"
    how = "decompress" if name.endswith("asymmetric") else "load"
    command = [sys.executable, STUDIES / "_plain_transformers.py", path, tmp_path / "prompts.json", output, how]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    theirs = safetensors.torch.load_file(output)
    assert round_trip.farthest(path, loaded, theirs) <= 1
    shifted = {key: tensor.roll(1, -1) if key.endswith("output") else tensor for key, tensor in theirs.items()}
    assert round_trip.farthest(path, loaded, shifted) > 1


def test_keys_and_values_with_one_scale_are_read(tmp_path: pathlib.Path) -> None:
    path = foreign(RECIPES["w8a8"], tmp_path / "model")
    cache = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "tensor", "dynamic": False}
    change_config(path, lambda config: config.update(kv_cache_scheme=cache))
    scales = {
        f"model.layers.{layer}.self_attn.{which}_scale": torch.tensor([0.05]) for layer in range(4) for which in "kv"
    }
    add_tensors(path, scales)
    loaded = quantguard.load(path)
    assert loaded.recipe is not None
    assert loaded.recipe.name == "compressed-tensors-w8a8kv8"
    quantizers = loaded.model.model.layers[2].self_attn.extension.quantizers
    for quantizer in quantizers:
        assert quantizer.scale.shape == (2, 1, 64)
        assert bool((quantizer.scale == 0.05).all())


def change_config(path: pathlib.Path, change: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    change(config["quantization_config"])
    (path / "config.json").write_text(json.dumps(config))


def add_tensors(path: pathlib.Path, tensors: dict[str, torch.Tensor]) -> None:
    """Put tensors into a file of their own, and into the index."""
    safetensors.torch.save_file(tensors, path / "model-extra.safetensors")
    index = json.loads((path / "model.safetensors.index.json").read_text())
    index["weight_map"] |= dict.fromkeys(tensors, "model-extra.safetensors")
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


CONFIG = ct_config.render({"a": LayerArgs(weights=EIGHT, input_activations=TOKEN)}, ["lm_head"])
REFUSED = {
    "floats": (("config_groups", "group_0", "weights", "type"), "float", "type 'float'"),
    "blocks": (("config_groups", "group_0", "weights", "strategy"), "block", "strategy 'block'"),
    "activations in groups": (("config_groups", "group_0", "input_activations", "strategy"), "group", "group"),
    "asymmetric tokens": (("config_groups", "group_0", "input_activations", "symmetric"), False, "symmetric"),
    "outputs": (("config_groups", "group_0", "output_activations"), {"num_bits": 8}, "output_activations"),
    "another format": (("config_groups", "group_0", "format"), "nvfp4-pack-quantized", "nvfp4-pack-quantized"),
    "not compressed": (("quantization_status",), "frozen", "'frozen'"),
    "transforms": (("transform_config",), {"config_groups": {"R1": {}}}, "transform_config is not empty"),
    "sparse experts": (("moe_sparsity_config",), {"sparsity": 0.5}, "moe_sparsity_config is not empty"),
    "unknown settings": (("colour",), "blue", 'settings that quantguard does not know: colour = "blue"'),
    "unknown settings of weights": (("config_groups", "group_0", "weights", "shift"), 1, "shift = 1"),
    "a preset": (("config_groups", "W8A8"), ["Linear"], "W8A8 is the name of a preset"),
    "sparsity": (("sparsity_config",), {"format": "sparse-bitmask"}, "sparsity_config is not empty"),
    "a cache in tokens": (("kv_cache_scheme",), {"strategy": "token", "dynamic": True}, "kv_cache_scheme"),
    "no groups": (("config_groups",), {}, "config_groups is empty"),
    "no weights": (("config_groups", "group_0", "weights"), None, "NoneType"),
    "no bits": (("config_groups", "group_0", "weights", "num_bits"), 16, "num_bits is 16"),
    "targets": (("config_groups", "group_0", "targets"), "Linear", "a list of names"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_built_is_refused_by_name(what: str) -> None:
    path, value, complaint = REFUSED[what]
    config: Any = copy.deepcopy(CONFIG)
    ct_config.parse(config, "config.json")
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ModelError, match=r"config\.json: quantization_config: ") as caught:
        ct_config.parse(config, "config.json")
    assert complaint in str(caught.value)


def test_linears_that_servers_fuse_may_differ_with_a_warning(tmp_path: pathlib.Path) -> None:
    recipe = dataclasses.replace(RECIPES["w8a8"], ignore=("lm_head", "*.1.self_attn.k_proj"))
    path = foreign(recipe, tmp_path / "model")
    checked = checking.check(path)
    assert checked.defects == ()
    assert [warning.tensor for warning in checked.warnings] == ["model.layers.1.self_attn.k_proj"]
    assert "it is float" in quantguard.load(path).notes[-1]


def test_a_method_that_is_not_read_is_told_with_those_that_are(tmp_path: pathlib.Path) -> None:
    path = foreign(RECIPES["w8a8"], tmp_path / "model")
    change_config(path, lambda config: config.update(quant_method="fp8"))
    with pytest.raises(ModelError, match=r"method 'fp8', which .*: ascend, .*compressed-tensors, gptq"):
        quantguard.load(path)


def test_a_name_outweighs_a_pattern_and_that_the_class() -> None:
    def scheme(num_bits: int) -> ct_config.LinearScheme:
        weights = QuantArgs(num_bits=num_bits, strategy="channel")
        return ct_config.LinearScheme(args=LayerArgs(weights=weights, input_activations=None), packed=True)

    groups = ((("Linear",), scheme(8)), (("re:.*mlp.*",), scheme(4)), (("model.mlp.up_proj",), scheme(3)))
    whole = ct_config.Scheme(groups=groups, ignore=("re:.*lm_head",), kv_cache=None)
    bits = {}
    for name in ("model.attn.q_proj", "model.mlp.down_proj", "model.mlp.up_proj"):
        found = whole.of_linear(name)
        assert found is not None
        bits[name.rpartition(".")[2]] = found.args.weights.num_bits
    assert bits == {"q_proj": 8, "down_proj": 4, "up_proj": 3}
    assert whole.of_linear("lm_head") is None
    twice = dataclasses.replace(whole, groups=(*groups, (("re:.*down_proj",), scheme(2))))
    with pytest.raises(ModelError, match=r"two config_groups .* fit model\.mlp\.down_proj"):
        twice.of_linear("model.mlp.down_proj")


def test_the_float_model_is_asked_for_by_name_and_held_against_it(tmp_path: pathlib.Path) -> None:
    loaded = quantguard.load(foreign(RECIPES["w8a8"], tmp_path / "model"))
    with pytest.raises(ModelError, match="reference='PATH'"):
        opening.full_precision_of(loaded)
    reference = opening.full_precision_of(opening.made_from(loaded, "tiny-reasoner"))
    assert reference.name == "tiny-reasoner"
    with pytest.raises(QuantguardError, match="is not quantized"):
        opening.made_from(reference, "tiny-reasoner")


def test_another_architecture_is_not_taken_for_the_float_model(tmp_path: pathlib.Path) -> None:
    loaded = quantguard.load(foreign(RECIPES["w8a8"], tmp_path / "model"))
    other = quantguard.load("tiny-reasoner")
    other.model.config.intermediate_size = 99
    with pytest.raises(ModelError, match="intermediate_size is 99 there and 512 here"):
        opening._require_same_architecture(loaded, other)


def test_the_hash_is_that_of_all_files(tmp_path: pathlib.Path) -> None:
    path = foreign(RECIPES["w8a8"], tmp_path / "model")
    before = quantguard.load(path).weights_sha256
    shutil.copytree(path, tmp_path / "renamed")
    assert quantguard.load(tmp_path / "renamed").weights_sha256 == before
    (tmp_path / "renamed/generation_config.json").write_text("{}")
    assert quantguard.load(tmp_path / "renamed").weights_sha256 != before
