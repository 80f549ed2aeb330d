"""Damaged or inconsistent GPTQ and AWQ checkpoints are refused with file, tensor and rule."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch

import quantguard
from quantguard.errors import ModelError
from quantguard.pipeline import checking
from tests.support.packed_checkpoints import INDEX, Written, small_model, write_awq, write_gptq

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
LAYER = "model.layers.1"
Q, DOWN = f"{LAYER}.self_attn.q_proj", f"{LAYER}.mlp.down_proj"
Damage = Callable[[Written], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A damage to the parts of a checkpoint, and where and how it is to be told."""

    name: str
    damage: Damage
    tensor: str | None
    rule: str
    file: str = SECOND
    also: tuple[str, ...] = ()
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


def drop(name: str) -> Damage:
    return lambda written: written.tensors.__delitem__(name)


def change(name: str, new: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    return lambda written: written.tensors.__setitem__(name, new(written.tensors[name]).contiguous())


def put(name: str, place: tuple[int, ...], value: float) -> Damage:
    def damage(written: Written) -> None:
        written.tensors[name][place] = value

    return damage


def missing(name: str) -> Case:
    return Case(name=f"{name} missing", damage=drop(name), tensor=name, rule="is missing", file=INDEX)


def typed(name: str, dtype: torch.dtype, told: str) -> Case:
    return Case(name=f"{name} {told}", damage=change(name, lambda t: t.to(dtype)), tensor=name, rule=f"type is {told}")


def shaped(name: str, how: str, new: Callable[[torch.Tensor], torch.Tensor]) -> Case:
    return Case(name=f"{name} {how}", damage=change(name, new), tensor=name, rule="its shape is")


def valued(name: str, place: tuple[int, ...], value: float, rule: str) -> Case:
    damage = put(name, place, value)
    return Case(name=f"{name} {value}", damage=damage, tensor=name, rule=f"{rule}; ")


def added(name: str, tensor: torch.Tensor, rule: str) -> Case:
    return Case(name=f"{name} added", damage=lambda w: w.tensors.__setitem__(name, tensor), tensor=name, rule=rule)


def left_float(written: Written) -> None:
    for part in ("qweight", "qzeros", "scales"):
        del written.tensors[f"{Q}.{part}"]
    written.tensors.pop(f"{Q}.g_idx", None)
    written.tensors[f"{Q}.weight"] = torch.zeros(64, 64, dtype=torch.float16)


SCALE_RULE, FINITE_RULE = "a scale is positive and finite", "values are finite"
COMMON = (
    missing(f"{Q}.qweight"),
    missing(f"{DOWN}.qzeros"),
    missing(f"{DOWN}.scales"),
    missing(f"{Q}.bias"),
    missing(f"{LAYER}.input_layernorm.weight"),
    missing("model.embed_tokens.weight"),
    missing("model.norm.weight"),
    missing("lm_head.weight"),
    added(f"{Q}.scale", torch.ones(2), "no place for this tensor"),
    added("model.layers.2.mlp.down_proj.qweight", torch.ones(2), "no place for this tensor"),
    Case(
        name="float where it says packed",
        damage=left_float,
        tensor=f"{Q}.weight",
        rule="no place for this tensor",
        also=tuple(f"{Q}.{part}" for part in ("qweight", "qzeros", "scales", "g_idx")),
    ),
    typed(f"{Q}.qweight", torch.int64, "I64"),
    typed(f"{Q}.qzeros", torch.int16, "I16"),
    typed(f"{Q}.scales", torch.float32, "F32"),
    typed(f"{Q}.bias", torch.int32, "I32"),
    typed("model.norm.weight", torch.int8, "I8"),
    shaped(f"{Q}.qweight", "a row short", lambda t: t[:-1]),
    shaped(f"{Q}.qweight", "a column short", lambda t: t[:, :-1]),
    shaped(f"{DOWN}.qweight", "transposed", lambda t: t.t()),
    shaped(f"{DOWN}.qzeros", "a group short", lambda t: t[:-1]),
    shaped(f"{DOWN}.qzeros", "a word short", lambda t: t[:, :-1]),
    shaped(f"{DOWN}.scales", "a group too many", lambda t: torch.cat((t, t[:1]))),
    shaped(f"{DOWN}.scales", "an output short", lambda t: t[:, 1:]),
    shaped(f"{Q}.bias", "an entry short", lambda t: t[1:]),
    shaped(f"{LAYER}.input_layernorm.weight", "as a matrix", lambda t: t[None]),
    shaped("lm_head.weight", "a token short", lambda t: t[1:]),
    valued(f"{Q}.scales", (1, 3), math.nan, SCALE_RULE),
    valued(f"{Q}.scales", (1, 3), math.inf, SCALE_RULE),
    valued(f"{DOWN}.scales", (2, 63), -0.25, SCALE_RULE),
    valued(f"{DOWN}.scales", (0, 0), 0.0, SCALE_RULE),
    valued(f"{Q}.bias", (5,), math.inf, FINITE_RULE),
    valued(f"{LAYER}.post_attention_layernorm.weight", (0,), math.nan, FINITE_RULE),
    valued("lm_head.weight", (7, 7), math.nan, FINITE_RULE),
    added(f"{DOWN}.bias", torch.ones(64, dtype=torch.float16), "the model has no bias here"),
)
GROUPS = "groups are from 0 to 2, of 32 inputs each and the last of the rest"
GPTQ = (
    *COMMON,
    missing(f"{Q}.g_idx"),
    typed(f"{Q}.g_idx", torch.int64, "I64"),
    shaped(f"{Q}.g_idx", "an input short", lambda t: t[1:]),
    valued(f"{DOWN}.g_idx", (0,), 3, GROUPS),
    valued(f"{DOWN}.g_idx", (0,), -1, GROUPS),
    Case(
        name="an input in another group",
        damage=change(f"{DOWN}.g_idx", lambda t: torch.cat((((t[:1] + 1) % 3), t[1:]))),
        tensor=f"{DOWN}.g_idx",
        rule=GROUPS,
    ),
    Case(
        name="act-order though desc_act is false",
        damage=lambda written: written.settings.update(desc_act=False),
        tensor="model.layers.0.self_attn.q_proj.g_idx",
        rule="desc_act is false, so group i holds 32 inputs",
        file=FIRST,
        also=tuple(
            f"model.layers.{layer}.{part}_proj.g_idx"
            for layer in range(2)
            for part in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down")
        ),
    ),
    valued(f"{Q}.qzeros", (1, 2), 0x77777778, "sym is true, so every stored zero point is 7"),
    Case(
        name="a zero point of 0 in the first format",
        damage=put(f"{Q}.qzeros", (1, 2), 0x777777F7),
        tensor=f"{Q}.qzeros",
        rule="a zero point of 0 is stored as 15",
        settings={"sym": False},
    ),
)
AWQ = (
    *COMMON,
    Case(
        name="a zero point though there are none",
        damage=put(f"{Q}.qzeros", (1, 2), 0x77777777),
        tensor=f"{Q}.qzeros",
        rule="zero_point is false, so every stored zero point is 8",
        settings={"zero_point": False},
    ),
)
WRITERS: dict[str, Callable[..., Written]] = {
    "gptq": lambda model, **settings: write_gptq(model, **({"desc_act": True} | settings)),
    "awq": write_awq,
}
CASES = [pytest.param(w, c, id=f"{w}: {c.name}") for w, cases in (("gptq", GPTQ), ("awq", AWQ)) for c in cases]


@pytest.fixture(scope="module")
def model() -> Any:
    return small_model()


def refusal(folder: pathlib.Path) -> str:
    with pytest.raises(ModelError) as caught:
        quantguard.load(folder, dtype="float32")
    return str(caught.value)


@pytest.mark.parametrize(("writer", "case"), CASES)
def test_damage_is_told_with_file_tensor_and_rule(writer: str, case: Case, model: Any, tmp_path: pathlib.Path) -> None:
    written = WRITERS[writer](model, **case.settings)
    case.damage(written)
    written.save(tmp_path, shards=2)
    found = checking.check(tmp_path).defects
    told = [defect for defect in found if defect.tensor == case.tensor]
    assert [(defect.file, case.rule in defect.rule) for defect in told] == [(case.file, True)]
    assert {defect.tensor for defect in found} <= {case.tensor, *case.also}
    message = refusal(tmp_path)
    if not case.also:  # where a damage breaks many rules, the first few are told
        assert f"\n  {case.file}: {case.tensor}: " in message
        assert case.rule in message
    assert str(case.tensor).rpartition(".")[0] in message


def test_an_undamaged_checkpoint_is_taken(model: Any, tmp_path: pathlib.Path) -> None:
    for name, write in WRITERS.items():
        folder = write(model).save(tmp_path / name, shards=2)
        assert checking.check(folder).defects == ()
        quantguard.load(folder, dtype="float32")


def map_elsewhere(folder: pathlib.Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"][f"{Q}.scales"] = FIRST
    (folder / INDEX).write_text(json.dumps(index))


def forget(folder: pathlib.Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    del index["weight_map"][f"{Q}.scales"]
    (folder / INDEX).write_text(json.dumps(index))


def name_another(folder: pathlib.Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"][f"{Q}.old"] = SECOND
    (folder / INDEX).write_text(json.dumps(index))


def cut(folder: pathlib.Path) -> None:
    content = (folder / SECOND).read_bytes()
    (folder / SECOND).write_bytes(content[:-10])


def leave_another(folder: pathlib.Path) -> None:
    safetensors.torch.save_file({"x": torch.zeros(1)}, folder / "model-00003-of-00003.safetensors")


def contradict(folder: pathlib.Path) -> None:
    (folder / "quantize_config.json").write_text(json.dumps({"bits": 4, "group_size": 128}))


FILES: dict[str, tuple[Callable[[pathlib.Path], None], str, str | None, str]] = {
    "an index that names the wrong file": (map_elsewhere, FIRST, f"{Q}.scales", "says that it is in this file"),
    "an index that forgets": (forget, SECOND, f"{Q}.scales", "does not say that it is in this file"),
    "an index of another model": (name_another, SECOND, f"{Q}.old", "says that it is in this file"),
    "a file cut short": (cut, SECOND, None, "the file is damaged"),
    "a lost file": (lambda folder: (folder / SECOND).unlink(), SECOND, None, "the file is missing"),
    "a file left behind": (leave_another, "model-00003-of-00003.safetensors", None, "no tensor of this file"),
    "other settings beside": (contradict, "quantize_config.json", None, "group_size is 128 here and 32 in config.json"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("writer", WRITERS)
def test_files_that_do_not_agree_are_told(writer: str, name: str, model: Any, tmp_path: pathlib.Path) -> None:
    damage, file, tensor, rule = FILES[name]
    folder = WRITERS[writer](model).save(tmp_path, shards=2)
    damage(folder)
    found = checking.check(folder).defects
    assert [d for d in found if (d.file, d.tensor) == (file, tensor) and rule in d.rule]
    assert rule in refusal(folder)


SETTINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "gptq: an unknown one": ("gptq", {"colour": "blue"}, 'colour = "blue"'),
    "gptq: two unknown ones": ("gptq", {"colour": "blue", "age": 3}, 'age = 3, colour = "blue"'),
    "gptq: activations of auto-round": ("gptq", {"act_bits": 8}, "act_bits is 8"),
    "gptq: floats of auto-round": ("gptq", {"data_type": "mx_fp"}, 'data_type is "mx_fp"'),
    "gptq: a cache of auto-round": ("gptq", {"static_kv_dtype": "fp8"}, 'static_kv_dtype is "fp8"'),
    "gptq: nothing computed": ("gptq", {"mock_quantization": True}, "mock_quantization is true"),
    "gptq: files outside": ("gptq", {"model_file_base_name": "../model"}, "model_file_base_name is '../model'"),
    "gptq: marlin": ("gptq", {"checkpoint_format": "marlin"}, 'checkpoint_format is "marlin"; possible: "gptq"'),
    "gptq: an old marlin": ("gptq", {"is_marlin_format": True}, "is_marlin_format is true"),
    "gptq: two formats": ("gptq", {"format": "gptq_v2"}, "checkpoint_format and format differ"),
    "gptq: a packed head": ("gptq", {"lm_head": True}, "lm_head is true; possible: false"),
    "gptq: 5 bits": ("gptq", {"bits": 5}, "bits is 5; possible: 2, 3, 4, 8"),
    "gptq: bits as text": ("gptq", {"bits": "4"}, "bits is '4'"),
    "gptq: no groups": ("gptq", {"group_size": 0}, "group_size is 0"),
    "gptq: no sym": ("gptq", {"sym": None}, "sym is null; possible: false, true"),
    "gptq: wide words": ("gptq", {"pack_dtype": "int64"}, 'pack_dtype is "int64"'),
    "gptq: an adapter": ("gptq", {"adapter": {"rank": 8}}, "adapter is"),
    "gptq: a rotation": ("gptq", {"rotation": "hadamard"}, 'rotation is "hadamard"'),
    "gptq: quantized activations": ("gptq", {"activation": {"bits": 8}}, "activation is"),
    "gptq: no patterns": ("gptq", {"dynamic": ["x"]}, "dynamic is"),
    "gptq: a broken pattern": ("gptq", {"dynamic": {"(": {}}}, "cannot be read"),
    "gptq: an unknown override": ("gptq", {"dynamic": {".*": {"shape": 1}}}, "dynamic sets 'shape'"),
    "gptq: no lists": ("gptq", {"modules_in_block_to_quantize": "all"}, "modules_in_block_to_quantize is"),
    "awq: an unknown one": ("awq", {"colour": "blue"}, 'colour = "blue"'),
    "awq: a sign that contradicts": ("awq", {"sym": True}, "sym is true; possible: false"),
    "awq: gemv": ("awq", {"version": "gemv"}, "version is 'gemv'; gemm can be imported"),
    "awq: gemv_fast": ("awq", {"version": "gemv_fast"}, "version is 'gemv_fast'"),
    "awq: marlin": ("awq", {"version": "marlin"}, "version is 'marlin'"),
    "awq: another format": ("awq", {"format": "gemv"}, 'format is "gemv"'),
    "awq: no version": ("awq", {"version": None}, "version is None"),
    "awq: 8 bits": ("awq", {"bits": 8}, "bits is 8; possible: 4"),
    "awq: no groups": ("awq", {"group_size": None}, "group_size is None"),
    "awq: no zero_point": ("awq", {"zero_point": None}, "zero_point is null"),
    "awq: a packed head": ("awq", {"lm_head": True}, "lm_head is true"),
    "awq: patterns": ("awq", {"dynamic": {".*": {}}}, "dynamic is"),
    "awq: act-order": ("awq", {"desc_act": True}, "desc_act is true"),
    "awq: text for a list": ("awq", {"modules_to_not_convert": "mlp"}, "modules_to_not_convert is 'mlp'"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_are_not_known_are_refused_by_name(name: str, model: Any, tmp_path: pathlib.Path) -> None:
    writer, changes, told = SETTINGS[name]
    written = WRITERS[writer](model)
    written.settings.update(changes)
    with pytest.raises(ModelError) as caught:
        checking.check(written.save(tmp_path))
    assert told in str(caught.value)
    assert "config.json" in str(caught.value)
    assert told in refusal(tmp_path)


def test_there_are_enough_damages_of_each_format() -> None:
    for cases, writer in ((GPTQ, "gptq"), (AWQ, "awq")):
        assert len(cases) >= 30, writer
