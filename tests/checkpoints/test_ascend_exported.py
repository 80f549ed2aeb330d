"""What is exported as AscendV1 loads by the rules of its server, and comes back as what was exported, to the bit."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import safetensors.torch
import torch

import quantguard
from quantguard.checkpoints import ascend
from quantguard.checkpoints.ascend import encoding, write
from quantguard.checkpoints.ascend.decoding import deq_scale_floats, unpack_rows
from quantguard.checkpoints.ascend.encoding import BlockEncoder
from quantguard.checkpoints.native.folder import OwnFolder
from quantguard.errors import KernelError, ModelError
from quantguard.modeling import Block, LoadedModel
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.modeling.quant_linear import QuantLinear
from quantguard.pipeline import checking
from quantguard.pipeline.exporting import export
from quantguard.records import LayerArgs
from tests.support import exported_models as models
from tests.support import loader_rules

CASES = [
    pytest.param((model, dtype, kind), id=f"{model} {dtype} {kind}")
    for model in models.MODELS
    for dtype in ("bfloat16", "float16")
    for kind in models.TYPES
]


@pytest.fixture(params=CASES)
def exported(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> tuple[OwnFolder, pathlib.Path]:
    """A model of ours in its folder, and what was exported of it."""
    model, dtype, kind = request.param
    return prepared(tmp_path, model, dtype, kind)


def prepared(root: pathlib.Path, model: str, dtype: str, kind: str) -> tuple[OwnFolder, pathlib.Path]:
    source = models.write(model, root / "source", dtype)
    quantguard.quantize_to_folder(source, models.recipe(kind), root / "ours", dtype=dtype)
    export(root / "ours", root / "theirs", form="ascend")
    assert kind.removesuffix("-C8") in json.loads((root / "theirs/quant_model_description.json").read_text()).values()
    return OwnFolder(root / "ours"), root / "theirs"


def decoded(folder: pathlib.Path) -> dict[str, tuple[Block, BlockState, Tensors]]:
    """Return the blocks of an exported folder as the importer has them."""
    stored = ascend.open_checkpoint(folder)
    found = {}
    for block in stored._blocks:
        tensors = stored.tensors.read_named(n for n in stored.block_specs(block) if n in stored.tensors.entries)
        found[block.name] = (block, *stored.decode(block, tensors))
    return found


def expected(state: BlockState, tensors: Tensors, dtype: torch.dtype) -> Tensors:
    """Return a block of ours with its scales and transforms in the type of the model, as far as it is kept in that."""
    changed = dict(tensors)
    for name, args in state.linears.items():
        activations = args.input_activations
        if args.weights.num_bits == 8 and (activations is None or activations.dynamic):
            changed[f"{name}.weight_scale"] = tensors[f"{name}.weight_scale"].to(dtype).float()
    for name, tensor in tensors.items():
        if name.endswith((".input_scale", ".extension.keys.scale", ".extension.values.scale")):
            changed[name] = tensor.to(dtype).float()
        if ".input_transform." in name:
            changed[name] = tensor.to(dtype).float()
    return changed


def settings(state: BlockState) -> dict[str, LayerArgs]:
    """Return the settings of the linears with their clipping ratios in float32, as files have them."""
    found = {}
    for name, args in state.linears.items():
        activations = args.input_activations
        if activations is not None and activations.strategy == "token":
            ratio = float(torch.tensor(activations.clip_ratio, dtype=torch.float32))
            activations = dataclasses.replace(activations, clip_ratio=ratio)
        found[name] = dataclasses.replace(args, input_activations=activations)
    return found


def test_it_comes_back_to_the_bit(exported: tuple[OwnFolder, pathlib.Path]) -> None:
    ours, theirs = exported
    checked = checking.check(theirs)
    assert checked.defects == ()
    stored = ascend.open_checkpoint(theirs)
    for name, (block, state, tensors) in decoded(theirs).items():
        own_state, own = ours.block(block)
        wanted = expected(own_state, own, ours.dtype)
        folded = [f"{o.name}.self_attn.o_proj" for o in [block] if f"{name}.self_attn.o_proj" not in own_state.linears]
        for linear in folded:
            for part in ("left", "right"):
                wanted.pop(f"{linear}.input_transform.{part}", None)
        assert tensors.keys() == wanted.keys()
        for key, tensor in wanted.items():
            if key.endswith("o_proj.weight"):
                continue
            found = tensors[key]
            static = f"{key.rpartition('.')[0]}.input_scale" in own
            if static and key.endswith(".bias"):
                step = (own[key.replace("bias", "input_scale")] * own[key.replace("bias", "weight_scale")]).flatten()
                assert bool(((found - tensor.float()).abs() <= 0.51 * step).all()), key
            else:
                assert torch.equal(found.double(), tensor.double()), key
        assert settings(state) == settings(own_state)
        # What came back is exported again to the same bytes.
        encoder = BlockEncoder(block=block, state=state, tensors=tensors, dtype=ours.dtype)
        written = encoder.encode()
        for key, tensor in stored.tensors.read(f"{name}.").items():
            if not (f"{name}.{key}").endswith("bias") or "quant_bias" in key:
                assert torch.equal(written[f"{name}.{key}"], tensor), key
    loader_rules.load(theirs)


def test_it_computes_what_the_server_computes(exported: tuple[OwnFolder, pathlib.Path]) -> None:
    _, theirs = exported
    loaded = loader_rules.load(theirs)
    model = quantguard.load(theirs, dtype="float32", backend="reference")
    torch.manual_seed(0)
    compared = 0
    for name, linear in loaded.linears.items():
        for shard, rows in linear.shards.items():
            own = f"{name.rpartition('.')[0]}.{shard}"
            x = torch.randn(7, linear.params["weight"].shape[1])
            theirs_y = linear.apply(x)[:, rows]
            ours_y = run(model, own, x)
            assert torch.allclose(ours_y, theirs_y, rtol=1e-4, atol=1e-4 * float(theirs_y.abs().max())), own
            compared += 1
    assert compared == 7 * model.model.config.num_hidden_layers


def run(model: LoadedModel, name: str, x: torch.Tensor) -> torch.Tensor:
    """Run a linear on its input, behind what its norm does to it."""
    module = model.model.get_submodule(name)
    layer = model.model.get_submodule(".".join(name.split(".")[:3]))
    part = name.rpartition(".")[2]
    norm = {"q": "input", "k": "input", "v": "input", "g": "post_attention", "u": "post_attention"}.get(part[0])
    transform = getattr(getattr(layer, f"{norm}_layernorm", None), "input_transform", None)
    with torch.no_grad():
        found: torch.Tensor = module(x if transform is None else transform(x))
    return found


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An exported W8A8 with a C8 cache, for reading alone."""
    return prepared(tmp_path_factory.mktemp("static"), "qwen2", "bfloat16", "W8A8-C8")[1]


@pytest.fixture
def copied(static: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(static, tmp_path / "copied"))


def change(folder: pathlib.Path, name: str, value: torch.Tensor | None) -> None:
    """Put another tensor in the place of one; none removes it."""
    index = json.loads((folder / "quant_model_weights.safetensors.index.json").read_text())["weight_map"]
    file = folder / index[name]
    tensors = safetensors.torch.load_file(file)
    tensors.pop(name)
    safetensors.torch.save_file(tensors if value is None else tensors | {name: value}, file)
    file.chmod(0o644)


def read(folder: pathlib.Path, name: str) -> torch.Tensor:
    return ascend.open_checkpoint(folder).tensors.read_named([name])[name]


LINEAR = "model.layers.1.mlp.down_proj"


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("offset", [-128, -7, 100])
def test_a_zero_point_of_the_input_is_not_dropped(copied: pathlib.Path, backend: str, offset: int) -> None:
    sums = read(copied, f"{LINEAR}.weight").sum(dim=1, dtype=torch.int32)
    change(copied, f"{LINEAR}.input_offset", torch.tensor([float(offset)]))
    change(copied, f"{LINEAR}.quant_bias", -offset * sums)
    linear = loader_rules.load(copied).linears[LINEAR]
    model = quantguard.load(copied, dtype="float32", backend=backend)
    module = model.model.get_submodule(LINEAR)
    assert isinstance(module, QuantLinear)
    # Inputs on one side of 0, as a zero point is for: a symmetric range would clip half of what is asked here.
    x = torch.rand(9, linear.params["weight"].shape[1]) * -offset * float(linear.params["input_scale"])
    found = module(x)
    exact = (
        x.double() @ (read(copied, f"{LINEAR}.weight").double() * read(copied, f"{LINEAR}.weight_scale").double()).t()
    )
    assert torch.allclose(found, linear.apply(x), rtol=1e-5, atol=1e-5 * float(found.detach().abs().max()))
    step = float(linear.params["input_scale"])
    weights = (read(copied, f"{LINEAR}.weight").double() * read(copied, f"{LINEAR}.weight_scale").double()).abs()
    # Each input is off by half a step at most.
    assert bool(((found.double() - exact).abs() <= 0.51 * step * weights.sum(dim=1)).all())
    assert float((found.double() - exact).norm() / exact.norm()) < 0.15


def test_backends_without_zero_points_say_so(copied: pathlib.Path) -> None:
    change(copied, f"{LINEAR}.input_offset", torch.tensor([3.0]))
    with pytest.raises(KernelError, match="takes static activations without a zero point"):
        quantguard.load(copied, device="emulated-910b", backend="ascend")


def test_a_static_linear_may_come_without_the_scale_of_its_weight(copied: pathlib.Path) -> None:
    before = quantguard.load(copied, dtype="float32").model.get_submodule(LINEAR)
    index, description = copied / "quant_model_weights.safetensors.index.json", copied / "quant_model_description.json"
    stored, types = json.loads(index.read_text()), json.loads(description.read_text())
    for part in ("weight_scale", "weight_offset"):
        change(copied, f"{LINEAR}.{part}", None)
        del stored["weight_map"][f"{LINEAR}.{part}"], types[f"{LINEAR}.{part}"]
    index.write_text(json.dumps(stored))
    description.write_text(json.dumps(types))
    loader_rules.load(copied)
    x = torch.randn(5, before.in_features) * 1e-3
    found = quantguard.load(copied, dtype="float32").model.get_submodule(LINEAR)(x)
    assert torch.allclose(found, before(x), rtol=1e-6)


def test_what_flatquant_calls_bias_and_matrices_of_a_linear_with_bias_is_known(
    ours: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    folder = export(ours("W4A4_FLATQUANT_DYNAMIC"), tmp_path / "theirs", form="ascend").path
    file = folder / "quant_model_description.json"
    types = json.loads(file.read_text())
    beside = [n for n in types if "q_proj" in n and n.endswith(("bias", "left_trans", "right_trans", "clip_ratio"))]
    file.write_text(json.dumps(types | dict.fromkeys(beside, "FLOAT_FLATQUANT")))
    assert checking.check(folder).defects == ()
    file.write_text(json.dumps(types | {beside[0].rpartition(".")[0] + ".weight": "FLOAT_FLATQUANT"}))
    with pytest.raises(ModelError, match=r"1 tensors are of the type 'FLOAT_FLATQUANT', such as .*q_proj\.weight"):
        checking.check(folder)


def test_files_are_readable_by_another_user_and_nothing_stale_is_left(static: pathlib.Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    for path in (static, *static.iterdir()):
        assert path.stat().st_mode & 0o666 == 0o666 & ~mask, path
    names = {path.name for path in static.iterdir()}
    assert not any(name.startswith(("model", "quantguard", ".")) for name in names)
    assert {"config.json", "tokenizer.json", "quant_model_description.json"} <= names
    assert "quantization_config" not in json.loads((static / "config.json").read_text())


def test_code_that_comes_with_a_model_goes_with_it(tmp_path: pathlib.Path) -> None:
    source = pathlib.Path(models.write("openpangu", tmp_path / "source", "bfloat16"))
    quantguard.quantize_to_folder(source, models.recipe("W8A16"), tmp_path / "ours", dtype="bfloat16")
    assert export(tmp_path / "ours", tmp_path / "theirs", form="ascend").notes == ()
    assert (tmp_path / "theirs/configuration_openpangu_dense.py").is_file()
    assert json.loads((tmp_path / "theirs/config.json").read_text())["model_type"] == "PanguEmbedded"
    (source / "configuration_openpangu_dense.py").unlink()
    assert "put it beside" in export(tmp_path / "ours", tmp_path / "again", form="ascend").notes[0]


def test_a_channel_of_zeros_has_a_scale_that_its_type_can_hold() -> None:
    data, scale = torch.tensor([[0, 0], [3, 4]], dtype=torch.int8), torch.tensor([[1e-30], [0.5]])
    assert encoding._scale_of_zeros(data, scale).tolist() == [[0.5], [0.5]]
    assert encoding._scale_of_zeros(data[:1], scale[:1]).tolist() == [[1.0]]


def test_rows_are_packed_by_the_rule_of_the_format() -> None:
    rows = torch.tensor([[1, -2], [3, -8], [7, 0], [-1, 5]], dtype=torch.int8)
    packed = encoding.pack_rows(rows)
    assert packed.tolist() == [[49, -114], [-9, 80]]
    assert torch.equal(unpack_rows(packed), rows)


def test_scales_as_bits_come_back() -> None:
    values = torch.tensor([1.5e-5, 3.25, 1e-38])
    assert torch.equal(deq_scale_floats(encoding.float_bits(values)), values)
    assert encoding.float_bits(values).dtype == torch.int64


def drop(part: str) -> Callable[[Tensors], None]:
    def plant(tensors: Tensors) -> None:
        for name in [name for name in tensors if name.endswith(part)]:
            del tensors[name]

    return plant


def scaled(part: str, factor: float) -> Callable[[Tensors], None]:
    """Plant a factor in the second of the tensors of one kind, which is k_proj's."""

    def plant(tensors: Tensors) -> None:
        name = [name for name in tensors if name.endswith(part)][1]
        tensors[name] = (tensors[name] * factor).to(tensors[name].dtype)

    return plant


def replaced(part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], None]:
    def plant(tensors: Tensors) -> None:
        for name in [name for name in tensors if name.endswith(part)]:
            tensors[name] = change(tensors[name])

    return plant


# What is done to every part of the export before it is written, and the export that shows it.
FAULTS = {
    "a scale is not rounded": ("W8A8_DYNAMIC", scaled("weight_scale", 1.0001)),
    "scales are without their second dimension": ("W8A8_DYNAMIC", replaced("weight_scale", torch.Tensor.flatten)),
    "scales are left out": ("W4A4_DYNAMIC", drop("weight_scale")),
    "weights are of 32 bits": ("W8A16", replaced("q_proj.weight", torch.Tensor.int)),
    "rows are in another order": ("W8A16", replaced("o_proj.weight", lambda w: w.flip(0).contiguous())),
    "4 bits are packed already": ("W4A4_DYNAMIC", replaced("up_proj.weight", lambda w: w[:, ::2] * 16 + w[:, 1::2])),
    "biases are left out": ("W8A8_DYNAMIC", drop("proj.bias")),
    "a bias is in another unit": ("W8A8-C8", scaled("quant_bias", 1.5)),
    "scales are their bits where they should not be": ("W8A8-C8", replaced("deq_scale", encoding.float_bits)),
    "deq_scale is the weight's alone": ("W8A8-C8", scaled("deq_scale", 3.0)),
    "inputs that are shared have two scales": ("W8A8-C8", scaled("input_scale", 2.0)),
    "cache scales are of one head": ("W8A8-C8", replaced("kv_cache_scale", lambda s: s[: len(s) // 2].clone())),
    "an offset of the cache is not 0": ("W8A8-C8", replaced("kv_cache_offset", lambda o: o + 3)),
    "matrices are transposed": ("W4A4_FLATQUANT_DYNAMIC", replaced("left_trans", lambda m: m.t().contiguous())),
    "a matrix is left out": ("W4A4_FLATQUANT_DYNAMIC", drop("right_trans")),
    "clips are of single linears": ("W4A4_FLATQUANT_DYNAMIC", scaled("clip_ratio", 0.5)),
    "the tied head is left out": ("W8A16", drop("lm_head.weight")),
    "a norm is left out": ("W8A16", drop("input_layernorm.weight")),
    "a tensor is called otherwise": ("W8A16", lambda tensors: tensors.update({"extra.weight": torch.ones(2)})),
}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], pathlib.Path]:
    """Folders of ours by type, each quantized once."""
    made: dict[str, pathlib.Path] = {}

    def folder(kind: str) -> pathlib.Path:
        if kind not in made:
            root = tmp_path_factory.mktemp(kind)
            source = models.write("qwen2", root / "source", "bfloat16")
            made[kind] = quantguard.quantize_to_folder(source, models.recipe(kind), root / "ours").path
        return made[kind]

    return folder


@pytest.mark.parametrize("fault", ["none", *FAULTS])
def test_faults_of_the_exporter_are_caught_by_the_loader_rules(
    fault: str, ours: Callable[[str], pathlib.Path], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, plant = FAULTS.get(fault, ("W8A8-C8", drop("nothing")))
    parts = write._parts

    def faulty(*args: Any) -> Iterator[tuple[Tensors, dict[str, str]]]:
        for tensors, kinds in parts(*args):
            with contextlib.suppress(IndexError):
                plant(tensors)
            yield tensors, kinds

    monkeypatch.setattr(write, "_parts", faulty)
    export(ours(kind), tmp_path / "theirs", form="ascend")
    if fault == "none":
        same_products(ours(kind), tmp_path / "theirs")
        return
    with pytest.raises(loader_rules.LoaderError):
        same_products(ours(kind), tmp_path / "theirs")


def same_products(ours: pathlib.Path, theirs: pathlib.Path) -> None:
    """Hold what the loader makes of a folder against the model of ours that it was exported from."""
    loaded, model = loader_rules.load(theirs), quantguard.load(ours, backend="reference")
    torch.manual_seed(0)
    for name, linear in loaded.linears.items():
        for shard, rows in linear.shards.items():
            own = f"{name.rpartition('.')[0]}.{shard}"
            x = torch.randn(31, linear.params["weight"].shape[1])
            wanted, found = run(model, own, x.bfloat16()).float(), linear.apply(x.bfloat16().float())[:, rows]
            error = float((found - wanted).norm() / wanted.norm())
            loader_rules.require(error < 0.05, f"{own}: its products differ by {error:.3f}")


def test_a_head_that_is_not_described_is_caught(ours: Callable[[str], pathlib.Path], tmp_path: pathlib.Path) -> None:
    export(ours("W8A16"), tmp_path / "theirs", form="ascend")
    file = tmp_path / "theirs/quant_model_description.json"
    stored = json.loads(file.read_text())
    del stored["lm_head.weight"]
    file.write_text(json.dumps(stored))
    with pytest.raises(loader_rules.LoaderError, match="lm_head"):
        loader_rules.load(tmp_path / "theirs")


def test_a_quantization_config_that_is_left_is_caught(static: pathlib.Path, copied: pathlib.Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "x"}}))
    with pytest.raises(loader_rules.LoaderError, match="another quantization method"):
        loader_rules.load(copied)
    loader_rules.load(static)


def test_a_split_o_proj_or_down_proj_of_flatquant_does_not_load(
    ours: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    export(ours("W4A4_FLATQUANT_DYNAMIC"), tmp_path / "theirs", form="ascend")
    loader_rules.load(tmp_path / "theirs")
    with pytest.raises(loader_rules.LoaderError, match=r"down_proj\.right_trans"):
        loader_rules.load(tmp_path / "theirs", tensor_parallel_size=2)
