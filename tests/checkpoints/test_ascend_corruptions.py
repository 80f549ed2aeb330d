"""Damage that is planted in an AscendV1 checkpoint is refused, with the file, the tensor and the rule."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch

import quantguard
from quantguard.errors import ModelError, QuantguardError
from quantguard.modeling.block_state import Tensors
from quantguard.pipeline import checking
from quantguard.pipeline.exporting import export
from tests.support import exported_models as models

DESCRIPTION = "quant_model_description.json"
INDEX = "quant_model_weights.safetensors.index.json"
PART = "quant_model_weights-00003-of-00004.safetensors"
ATTENTION, MLP = "model.layers.1.self_attn", "model.layers.1.mlp"
Plant = Callable[[pathlib.Path], object]


def in_json(file: str, change: Callable[[dict[str, Any]], object]) -> Plant:
    def plant(folder: pathlib.Path) -> None:
        stored = json.loads((folder / file).read_text())
        change(stored)
        (folder / file).write_text(json.dumps(stored))

    return plant


def in_part(change: Callable[[Tensors], object]) -> Plant:
    def plant(folder: pathlib.Path) -> None:
        tensors = safetensors.torch.load_file(folder / PART)
        change(tensors)
        safetensors.torch.save_file({name: t.contiguous() for name, t in tensors.items()}, folder / PART)

    return plant


def to(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Plant:
    return in_part(lambda tensors: tensors.update({name: change(tensors[name])}))


def first(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Put a value in the place of the first entry."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        changed = tensor.clone()
        changed.view(-1)[0] = value
        return changed

    return change


def typed(name: str, kind: str) -> Plant:
    return in_json(DESCRIPTION, lambda stored: stored.update({name: kind}))


def both(*plants: Plant) -> Plant:
    def plant(folder: pathlib.Path) -> None:
        for one in plants:
            one(folder)

    return plant


def without(folder: pathlib.Path, name: str) -> None:
    """Take a tensor out of its file, the index and the description."""
    in_part(lambda tensors: tensors.pop(name))(folder)
    in_json(INDEX, lambda stored: stored["weight_map"].pop(name))(folder)
    in_json(DESCRIPTION, lambda stored: stored.pop(name))(folder)


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """What is planted, and what the refusal has to name."""

    name: str
    plant: Plant
    file: str
    tensor: str | None
    rule: str
    kind: str = "W8A8-C8"
    by_loading: bool = False


Q, DOWN = f"{ATTENTION}.q_proj", f"{MLP}.down_proj"
FLAT, PACKED = "W4A4_FLATQUANT_DYNAMIC", "W4A8_DYNAMIC"

CASES = [
    Case(
        "a tensor is not described",
        in_json(DESCRIPTION, lambda s: s.pop(f"{DOWN}.deq_scale")),
        PART,
        f"{DOWN}.deq_scale",
        "does not name",
    ),
    Case(
        "a described tensor is nowhere",
        typed("model.layers.7.x.weight", "FLOAT"),
        DESCRIPTION,
        "model.layers.7.x.weight",
        "no file has it",
    ),
    Case(
        "a tensor is in no file", lambda f: without(f, f"{DOWN}.input_scale"), INDEX, f"{DOWN}.input_scale", "missing"
    ),
    Case("a bias is left out", lambda f: without(f, f"{Q}.bias"), INDEX, f"{Q}.bias", "missing"),
    Case(
        "a norm is left out",
        lambda f: without(f, "model.layers.1.input_layernorm.weight"),
        INDEX,
        "model.layers.1.input_layernorm.weight",
        "missing",
    ),
    Case(
        "the index is stale",
        in_json(
            INDEX,
            lambda s: s["weight_map"].update({f"{DOWN}.weight": "quant_model_weights-00002-of-00004.safetensors"}),
        ),
        "quant_model_weights-00002-of-00004.safetensors",
        f"{DOWN}.weight",
        "it is not",
    ),
    Case(
        "the file has more than the index",
        in_part(lambda t: t.update(extra=torch.ones(1))),
        PART,
        "extra",
        "does not say",
    ),
    Case("a part is missing", lambda f: (f / PART).unlink(), PART, None, "missing"),
    Case("a part is cut off", lambda f: (f / PART).write_bytes((f / PART).read_bytes()[:-9]), PART, None, "damaged"),
    Case(
        "a part of another model is beside",
        lambda f: shutil.copy(f / PART, f / "quant_model_weights-00009-of-00009.safetensors") and None,
        "quant_model_weights-00009-of-00009.safetensors",
        None,
        "left from another",
    ),
    Case(
        "float weights are beside",
        lambda f: (f / "model.safetensors.index.json").write_text("{}") and None,
        "model.safetensors.index.json",
        None,
        "float weights",
    ),
    Case(
        "the configuration asks for another method",
        in_json("config.json", lambda s: s.update(quantization_config={"bits": 8})),
        "config.json",
        None,
        "quantization_config",
    ),
    Case(
        "a part of a linear is of another type",
        typed(f"{DOWN}.deq_scale", "FLOAT"),
        DESCRIPTION,
        f"{DOWN}.deq_scale",
        "has to be W8A8",
    ),
    Case(
        "one of q, k and v has no part in the matrices of the others",
        typed(f"{ATTENTION}.k_proj.weight", "FLOAT"),
        DESCRIPTION,
        f"{ATTENTION}.k_proj.weight",
        "of one type",
        "W4A4_FLATQUANT_DYNAMIC",
    ),
    Case("the head is quantized", typed("lm_head.weight", "W8A8"), DESCRIPTION, "lm_head.weight", "has to be FLOAT"),
    Case(
        "the cache is not announced",
        in_json(DESCRIPTION, lambda s: s.pop("kv_cache_type")),
        DESCRIPTION,
        None,
        "kv_cache_type is None",
    ),
    Case(
        "cache scales are of a linear's type",
        typed(f"{ATTENTION}.k_proj.kv_cache_scale", "W8A8"),
        DESCRIPTION,
        f"{ATTENTION}.k_proj.kv_cache_scale",
        "has to be C8",
    ),
    Case("a weight has a row less", to(f"{DOWN}.weight", lambda w: w[:-1]), PART, f"{DOWN}.weight", "its shape is"),
    Case("a weight is float", to(f"{DOWN}.weight", torch.Tensor.bfloat16), PART, f"{DOWN}.weight", "its type is BF16"),
    Case(
        "a weight is uint8",
        to(f"{DOWN}.weight", lambda w: w.view(torch.uint8)),
        PART,
        f"{DOWN}.weight",
        "its type is U8",
    ),
    Case(
        "deq_scale is its bits in a bfloat16 model",
        to(f"{DOWN}.deq_scale", lambda s: s.view(torch.int32).long()),
        PART,
        f"{DOWN}.deq_scale",
        "its type is I64",
    ),
    Case(
        "quant_bias is int64",
        to(f"{DOWN}.quant_bias", torch.Tensor.long),
        PART,
        f"{DOWN}.quant_bias",
        "its type is I64",
    ),
    Case(
        "a scale has lost its dimension",
        to(f"{DOWN}.weight_scale", torch.Tensor.flatten),
        PART,
        f"{DOWN}.weight_scale",
        "its shape is",
    ),
    Case(
        "an input scale is one a channel",
        to(f"{DOWN}.input_scale", lambda s: s.repeat(2)),
        PART,
        f"{DOWN}.input_scale",
        "its shape is",
    ),
    Case(
        "cache scales are one short",
        to(f"{ATTENTION}.v_proj.kv_cache_scale", lambda s: s[:-1]),
        PART,
        f"{ATTENTION}.v_proj.kv_cache_scale",
        "its shape is",
    ),
    Case("a scale is negative", to(f"{DOWN}.weight_scale", first(-0.5)), PART, f"{DOWN}.weight_scale", "positive"),
    Case("a scale is NaN", to(f"{DOWN}.deq_scale", first(float("nan"))), PART, f"{DOWN}.deq_scale", "positive"),
    Case("a scale is 0", to(f"{DOWN}.input_scale", first(0.0)), PART, f"{DOWN}.input_scale", "positive"),
    Case(
        "a scale is infinite",
        to(f"{ATTENTION}.k_proj.kv_cache_scale", first(float("inf"))),
        PART,
        f"{ATTENTION}.k_proj.kv_cache_scale",
        "positive",
    ),
    Case(
        "an offset is a fraction", to(f"{DOWN}.input_offset", first(0.5)), PART, f"{DOWN}.input_offset", "whole number"
    ),
    Case(
        "an offset is beyond 8 bits",
        to(f"{DOWN}.input_offset", first(300.0)),
        PART,
        f"{DOWN}.input_offset",
        "whole number",
    ),
    Case("a weight is asymmetric", to(f"{DOWN}.weight_offset", first(2.0)), PART, f"{DOWN}.weight_offset", "is 0"),
    Case(
        "a norm is NaN",
        to("model.layers.1.input_layernorm.weight", first(float("nan"))),
        PART,
        "model.layers.1.input_layernorm.weight",
        "finite",
    ),
    Case(
        "a left matrix is too small",
        to(f"{DOWN}.left_trans", lambda m: m[1:, 1:]),
        PART,
        f"{DOWN}.left_trans",
        "its shape is",
        FLAT,
    ),
    Case("a matrix is infinite", to(f"{Q}.right_trans", first(float("inf"))), PART, f"{Q}.right_trans", "finite", FLAT),
    Case("a clip is above 1", to(f"{Q}.clip_ratio", first(1.5)), PART, f"{Q}.clip_ratio", "at most 1", FLAT),
    Case(
        "deq_scale is not the product",
        to(f"{DOWN}.deq_scale", lambda s: s * 2),
        PART,
        f"{DOWN}.deq_scale",
        "not input_scale times",
        by_loading=True,
    ),
    Case(
        "q and k have two input scales",
        to(f"{ATTENTION}.k_proj.input_scale", lambda s: s * 2),
        PART,
        f"{ATTENTION}.k_proj",
        "input_scale",
        by_loading=True,
    ),
    Case(
        "a linear without bias gets one",
        to(f"{DOWN}.quant_bias", first(7)),
        PART,
        f"{DOWN}.quant_bias",
        "no bias",
        by_loading=True,
    ),
    Case(
        "a weight is beyond 4 bits",
        to(f"{DOWN}.weight", first(9)),
        PART,
        f"{DOWN}.weight",
        "from -8 to 7",
        FLAT,
        by_loading=True,
    ),
    Case(
        "q and k have two matrices",
        to(f"{ATTENTION}.k_proj.left_trans", lambda m: m * 2),
        PART,
        f"{ATTENTION}.k_proj.left_trans",
        "differs",
        FLAT,
        by_loading=True,
    ),
    Case(
        "scale_bias is another sum",
        to(f"{DOWN}.scale_bias", lambda s: s * 2),
        PART,
        f"{DOWN}.scale_bias",
        "8 times",
        PACKED,
        by_loading=True,
    ),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], pathlib.Path]:
    """Exported folders by type, each made once."""
    made: dict[str, pathlib.Path] = {}

    def folder(kind: str) -> pathlib.Path:
        if kind not in made:
            root = tmp_path_factory.mktemp(kind)
            source = models.write("qwen2", root / "source", "bfloat16")
            quantguard.quantize_to_folder(source, models.recipe(kind), root / "ours")
            made[kind] = export(root / "ours", root / "theirs", form="ascend", forced=["dense-w4a8"]).path
        return made[kind]

    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_damage_is_refused_by_file_tensor_and_rule(
    case: Case, sound: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    folder = pathlib.Path(shutil.copytree(sound(case.kind), tmp_path / "model"))
    assert checking.check(folder).defects == ()
    case.plant(folder)
    if case.by_loading:
        assert checking.check(folder).defects == ()
    else:
        defects = checking.check(folder).defects
        told = [d for d in defects if (d.file, d.tensor) == (case.file, case.tensor) and case.rule in d.rule]
        assert told, [str(defect) for defect in defects]
    with pytest.raises(QuantguardError) as refused:
        quantguard.load(folder, backend="reference")
    if case.by_loading:
        assert all(part in str(refused.value) for part in (case.file, case.tensor or "", case.rule))


@pytest.mark.parametrize("kind", ["W8A8-C8", FLAT, PACKED])
def test_what_is_sound_is_taken(kind: str, sound: Callable[[str], pathlib.Path]) -> None:
    assert checking.check(sound(kind)).defects == ()
    assert quantguard.load(sound(kind)).checkpoint == sound(kind)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("{", "no description"), ("[]", "no description"), ('{"model.norm.weight": "FLOAT"}', "every tensor is FLOAT")],
    ids=["cut off", "no object", "nothing quantized"],
)
def test_a_description_that_says_nothing_is_refused(
    content: str, complaint: str, sound: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    folder = pathlib.Path(shutil.copytree(sound("W8A8-C8"), tmp_path / "model"))
    (folder / DESCRIPTION).write_text(content)
    with pytest.raises(ModelError, match=complaint):
        checking.check(folder)


def test_files_of_the_older_writer_are_known_and_their_cache_is_refused(
    sound: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    folder = pathlib.Path(shutil.copytree(sound("W8A8-C8"), tmp_path / "model"))
    index = json.loads((folder / INDEX).read_text())
    for file in sorted(folder.glob("*.safetensors")):
        file.rename(folder / file.name.replace("weights", "weight_w8a8"))
    renamed = {name: file.replace("weights", "weight_w8a8") for name, file in index["weight_map"].items()}
    (folder / INDEX).unlink()
    (folder / INDEX.replace("weights", "weight_w8a8")).write_text(json.dumps({"weight_map": renamed}))
    defects = checking.check(folder).defects
    assert ["before RoPE" in defect.rule for defect in defects] == [True]


UNSUPPORTED: dict[str, tuple[Plant, str]] = {
    "prefill and decode differ": (typed(f"{DOWN}.weight", "W8A8_MIX"), "1 tensors are of the type 'W8A8_MIX'"),
    "sparse": (typed(f"{DOWN}.weight", "W8A8S"), "of the type 'W8A8S'"),
    "4 bits without activations": (typed(f"{DOWN}.weight", "W4A16"), "of the type 'W4A16'"),
    "an unknown type": (typed(f"{DOWN}.weight", "W2A2"), "of the type 'W2A2'"),
    "a second scale": (
        both(typed(f"{DOWN}.weight", PACKED), typed(f"{DOWN}.weight_scale_second", PACKED)),
        "1 linears of the type W4A8_DYNAMIC have a second scale",
    ),
    "W4A8 of the older writer": (
        typed(f"{DOWN}.weight", PACKED),
        "1 linears of the type W4A8_DYNAMIC have no scale_bias",
    ),
    "norms with a bias": (typed("model.layers.0.input_layernorm.bias", "FLOAT"), "1 norms have a bias"),
    "another version": (in_json(DESCRIPTION, lambda s: s.update(version="2.0.0")), "version is '2.0.0'"),
    "attention in 8 bits": (
        in_json(DESCRIPTION, lambda s: s.update(fa_quant_type="FAQuant")),
        "fa_quant_type is 'FAQuant'",
    ),
    "sums in 8 bits": (in_json(DESCRIPTION, lambda s: s.update(reduce_quant_type="per_channel")), "reduce_quant_type"),
    "another cache": (in_json(DESCRIPTION, lambda s: s.update(kv_cache_type="C4")), "kv_cache_type is 'C4'"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_named_and_not_called_damaged(
    name: str, sound: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    folder = pathlib.Path(shutil.copytree(sound("W8A8-C8"), tmp_path / "model"))
    plant, told = UNSUPPORTED[name]
    plant(folder)
    for read in (checking.check, quantguard.load):
        with pytest.raises(ModelError, match=rf"{DESCRIPTION}: .*{told}.*nor called damaged"):
            read(folder)


def test_a_linear_that_stays_float_beside_the_others_is_a_warning(
    sound: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    folder = pathlib.Path(shutil.copytree(sound("W8A16"), tmp_path / "model"))
    name = f"{ATTENTION}.k_proj"

    def dequantize(tensors: Tensors) -> None:
        scale = tensors.pop(f"{name}.weight_scale")
        del tensors[f"{name}.weight_offset"]
        tensors[f"{name}.weight"] = (tensors[f"{name}.weight"].float() * scale).bfloat16()

    def forget(stored: dict[str, Any]) -> None:
        for part in ("weight_scale", "weight_offset"):
            del stored[f"{name}.{part}"]

    in_part(dequantize)(folder)
    in_json(INDEX, lambda s: forget(s["weight_map"]))(folder)
    in_json(DESCRIPTION, forget)(folder)
    typed(f"{name}.weight", "FLOAT")(folder)
    checked = checking.check(folder)
    assert checked.defects == ()
    assert ["of one type: q_proj W8A16, k_proj FLOAT" in warning.rule for warning in checked.warnings] == [True]
    found, expected = (quantguard.load(path, dtype="float32", backend="reference") for path in (folder, sound("W8A16")))
    assert "k_proj" in found.notes[-1]
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        float_key, quantized_key = found.model(ids).logits, expected.model(ids).logits
    assert float((float_key - quantized_key).norm() / quantized_key.norm()) < 0.01


def test_a_description_of_the_oldest_writer_is_named_and_not_called_damaged(
    sound: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    folder = pathlib.Path(shutil.copytree(sound("W8A8-C8"), tmp_path / "model"))
    (folder / DESCRIPTION).rename(folder / "quant_model_description_w8a8.json")
    for read in (checking.check, quantguard.load):
        with pytest.raises(ModelError, match=r"quant_model_description_w8a8\.json is .*not supported"):
            read(folder)
