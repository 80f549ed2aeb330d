"""Folders as other tools name and describe them: read where they mean the same, warned of where servers differ."""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch

import quantguard
from quantguard.cli import __main__ as cli
from quantguard.errors import ModelError
from quantguard.modeling import LoadedModel
from quantguard.pipeline import checking
from quantguard.pipeline.exporting import export
from quantguard.records import Override, QuantArgs
from tests.support import exported_models as models
from tests.support.packed_checkpoints import INDEX, Written, float_twin, small_model, write_awq, write_gptq

TOKENS = torch.arange(3, 67)[None]
SINGLE, BASE = "model.safetensors", "gptq_model-4bit-32g.safetensors"
# As auto-round 0.4 to 0.16 writes them, GPTQ's own settings aside.
AUTO_ROUND: dict[str, Any] = {
    "autoround_version": "0.16.1",
    "provider": "auto-round",
    "data_type": "int",
    "act_bits": 16,
    "act_data_type": "float",
    "act_dynamic": True,
    "act_sym": True,
    "act_group_size": 128,
    "amp": True,
    "batch_size": 4,
    "enable_minmax_tuning": True,
    "enable_norm_bias_tuning": False,
    "enable_quanted_input": True,
    "gradient_accumulate_steps": 1,
    "iters": 1000,
    "low_gpu_mem_usage": False,
    "lr": 0.005,
    "minmax_lr": 0.005,
    "nsamples": 512,
    "scale_dtype": "torch.float16",
    "seqlen": 512,
    "static_kv_granularity": "tensor",
    "supported_types": ["Linear"],
    "to_quant_block_names": "model.layers",
    "block_name_to_quantize": "model.layers",
    "train_bs": 8,
}
# As GPTQModel 7.7 does.
GPTQ_MODEL: dict[str, Any] = {
    "method": "gptq",
    "format": "gptq",
    "pack_dtype": "int32",
    "meta": {"quantizer": ["gptqmodel:7.7.0"], "foem": None, "pack_impl": "cpu", "telemetry": {}},
}


@pytest.fixture(scope="module")
def model() -> Any:
    return small_model()


def logits(found: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(found(TOKENS).logits).float()


def require_meaning(folder: pathlib.Path, model: Any, written: Written) -> LoadedModel:
    """Require that a folder is the model that its packing stands for."""
    loaded = quantguard.load(folder, dtype="float32", backend="reference")
    assert torch.allclose(logits(loaded.model), logits(float_twin(model, written)), atol=1e-3)
    return loaded


@pytest.mark.parametrize(
    ("write", "settings"),
    [
        (write_gptq, AUTO_ROUND | {"true_sequential": False, "damp_percent": 0.01}),
        (write_gptq, GPTQ_MODEL),
        (write_awq, AUTO_ROUND | {"sym": False}),
    ],
    ids=["auto-round's GPTQ", "GPTQModel's", "auto-round's AWQ"],
)
def test_settings_of_how_it_was_made_are_read(
    write: Callable[..., Written], settings: dict[str, Any], model: Any, tmp_path: pathlib.Path
) -> None:
    written = write(model)
    written.settings.update(settings)
    require_meaning(written.save(tmp_path), model, written)
    assert checking.check(tmp_path).defects == ()


def test_auto_rounds_symmetric_awq_is_read(model: Any, tmp_path: pathlib.Path) -> None:
    written = write_awq(model, zero_point=False)
    written.settings.update(AUTO_ROUND | {"sym": True})
    require_meaning(written.save(tmp_path), model, written)


def as_auto_gptq(written: Written, folder: pathlib.Path) -> dict[str, Any]:
    """Move the settings of a folder into a file beside, as AutoGPTQ has them; return them."""
    config = json.loads((folder / "config.json").read_text())
    settings = {key: written.settings[key] for key in ("bits", "group_size", "sym", "desc_act", "quant_method")}
    del config["quantization_config"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "quantize_config.json").write_text(json.dumps(settings))
    return settings


@pytest.mark.parametrize(
    ("name", "setting"),
    [(BASE, None), ("mine-4bit.safetensors", "mine-4bit"), (SINGLE, "mine-4bit"), (SINGLE, None)],
    ids=["by bits and groups", "by a setting", "of transformers in spite of a setting", "of transformers"],
)
def test_the_files_of_auto_gptq_are_found(name: str, setting: str | None, model: Any, tmp_path: pathlib.Path) -> None:
    written = write_gptq(model)
    folder = written.save(tmp_path)
    settings = as_auto_gptq(written, folder)
    named = settings | {"model_file_base_name": setting, "model_name_or_path": "somewhere", "damp_percent": 0.01}
    (folder / "quantize_config.json").write_text(json.dumps(named))
    (folder / SINGLE).rename(folder / name)
    require_meaning(folder, model, written)
    assert checking.check(folder).defects == ()


def test_the_shards_of_auto_gptq_are_found(model: Any, tmp_path: pathlib.Path) -> None:
    written = write_gptq(model)
    folder = written.save(tmp_path, shards=2)
    as_auto_gptq(written, folder)
    (folder / INDEX).rename(folder / f"{BASE}.index.json")
    require_meaning(folder, model, written)


@pytest.mark.parametrize("read", [checking.check, quantguard.load], ids=["check", "load"])
def test_files_of_two_names_or_of_none_are_refused(
    read: Callable[[pathlib.Path], object], model: Any, tmp_path: pathlib.Path
) -> None:
    folder = write_gptq(model).save(tmp_path)
    (folder / BASE).write_bytes((folder / SINGLE).read_bytes())
    with pytest.raises(ModelError, match=rf"weights of two names, {SINGLE} and {BASE}"):
        read(folder)
    (folder / SINGLE).unlink()
    (folder / BASE).rename(folder / "gptq_model-4bit-128g.safetensors")
    with pytest.raises(ModelError, match=rf"no {SINGLE} nor {BASE}; if the model is gptq_model-4bit-128g"):
        read(folder)


def test_a_file_beside_an_index_is_refused_where_it_is_quantized(model: Any, tmp_path: pathlib.Path) -> None:
    written = write_gptq(model)
    folder = written.save(tmp_path, shards=2)
    safetensors.torch.save_file(written.tensors, folder / SINGLE)
    assert [d.file for d in checking.check(folder).defects if "vLLM what this names" in d.rule] == [INDEX]
    with pytest.raises(ModelError, match=r"no tensor of this file|vLLM what this names"):
        quantguard.load(folder)


def test_the_settings_of_auto_awq_in_a_file_of_its_own_are_read(model: Any, tmp_path: pathlib.Path) -> None:
    written = write_awq(model)
    folder = written.save(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    old = {"zero_point": True, "q_group_size": 32, "w_bit": 4, "version": "GEMM", "modules_to_not_convert": None}
    (folder / "quant_config.json").write_text(json.dumps(old))
    assert checking.check(folder).defects == ()
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "quantization_config"}))
    require_meaning(folder, model, written)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "quant_config.json").write_text(json.dumps(old | {"q_group_size": 64}))
    rules = [defect.rule for defect in checking.check(folder).defects]
    assert rules == ["group_size is 64 here and 32 in config.json"]


MIXED: dict[str, tuple[Callable[..., Written], dict[str, Any], dict[str, Any]]] = {
    "awq, k float": (write_awq, {"float_linears": ("k_proj",)}, {}),
    "awq, gate float": (write_awq, {"float_linears": ("gate_proj",)}, {}),
    "gptq, q float": (write_gptq, {"float_linears": ("q_proj",)}, {"dynamic": {r"-:.*q_proj": {}}}),
}


@pytest.mark.parametrize("name", MIXED)
def test_linears_that_servers_fuse_may_differ_with_a_warning(
    name: str,
    model: Any,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, options, settings = MIXED[name]
    written = write(model, **options)
    written.settings.update(settings)
    loaded = require_meaning(written.save(tmp_path), model, written)
    assert "programs that serve fuse them" in loaded.notes[-1]
    checked = checking.check(tmp_path)
    assert checked.defects == ()
    assert all("programs that serve fuse them" in warning.rule for warning in checked.warnings)
    assert checked.warnings
    monkeypatch.setattr("sys.argv", ["quantguard", "check", str(tmp_path)])
    assert cli.main() == 0
    assert f"warning: {tmp_path}/config.json: model.layers.0." in capsys.readouterr().out


def test_a_linear_with_other_bits_than_those_it_is_fused_with_is_read(model: Any, tmp_path: pathlib.Path) -> None:
    written, eight = write_gptq(model), write_gptq(model, bits=8)
    for name in [key for key in written.tensors if ".q_proj." in key]:
        written.tensors[name] = eight.tensors[name]
    written.weights |= {name: weight for name, weight in eight.weights.items() if name.endswith("q_proj")}
    written.settings["dynamic"] = {r".*q_proj": {"bits": 8}}
    require_meaning(written.save(tmp_path), model, written)
    checked = checking.check(tmp_path)
    assert checked.defects == ()
    assert {str(warning.tensor).rpartition(".")[2] for warning in checked.warnings} == {"k_proj", "v_proj"}


def test_a_tied_head_of_its_own_is_read_as_transformers_does_with_a_warning(tmp_path: pathlib.Path) -> None:
    model = small_model()
    written = write_gptq(model)
    written.config["tie_word_embeddings"] = True
    folder = written.save(tmp_path / "own")
    require_meaning(folder, model, written)
    assert [warning.tensor for warning in checking.check(folder).warnings] == ["lm_head.weight"]
    written.tensors["lm_head.weight"] = written.tensors["model.embed_tokens.weight"].clone()
    assert checking.check(written.save(tmp_path / "same")).warnings == ()


def test_what_export_refuses_is_a_warning_of_check(tmp_path: pathlib.Path) -> None:
    source = models.write("qwen2", tmp_path / "source", "bfloat16")
    eight = models.recipe("W8A8_DYNAMIC")
    four = Override(
        targets=("*.k_proj",),
        weights=QuantArgs(num_bits=4, strategy="channel"),
        input_activations=models.per_token(4),
    )
    groups = QuantArgs(num_bits=8, strategy="group", group_size=32)
    recipes = {
        "mixed": dataclasses.replace(eight, overrides=(four,)),
        "groups": dataclasses.replace(models.recipe("W8A16"), weights=groups),
        "sound": eight,
    }
    for name, recipe in recipes.items():
        ours = quantguard.quantize_to_folder(source, recipe, tmp_path / name).path
        checked = checking.check(ours)
        refused = [w.rule for w in checked.warnings if "export --format ascend refuses" in w.rule]
        assert checked.defects == ()
        if name == "sound":
            assert refused == []
            export(ours, tmp_path / "theirs", form="ascend")
            continue
        with pytest.raises(ModelError) as caught:
            export(ours, tmp_path / "theirs", form="ascend")
        assert f"refuses it: {caught.value}" in refused[0]


def test_settings_left_beside_float_weights_are_named(model: Any, tmp_path: pathlib.Path) -> None:
    folder = write_gptq(model).save(tmp_path)
    model.save_pretrained(folder)
    (folder / "quantize_config.json").write_text(json.dumps({"bits": 4, "group_size": 32, "sym": True}))
    with pytest.raises(ModelError, match=r"quantize_config\.json says that the model is quantized, and none"):
        quantguard.load(folder)


def test_what_is_quantized_by_others_is_not_quantized_again(model: Any, tmp_path: pathlib.Path) -> None:
    folder = write_gptq(model).save(tmp_path / "theirs")
    with pytest.raises(ModelError, match="quantized already"):
        quantguard.quantize_to_folder(folder, "w8a8", tmp_path / "ours")
