"""A model that was quantized into a folder is the one that is quantized in memory, and a killed run goes on."""

import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch
import transformers

import quantguard
from quantguard import recipes
from quantguard.checkpoints import native
from quantguard.checkpoints.native.write import write_tensors
from quantguard.errors import ModelError, UsageError
from quantguard.modeling import Block, LoadedModel, block_state
from quantguard.pipeline import checking
from quantguard.pipeline.opening import full_precision_of
from quantguard.records import CalibrationArgs, Recipe
from quantguard.records.codec import digest
from quantguard.records.files import file_sha256
from quantguard.records.sealed_file import seal, unseal

FEW = CalibrationArgs(dataset="worked-problems", num_samples=4, max_length=64)
TOKENS = torch.arange(3, 33)[None]


def brief(name: str) -> Recipe:
    """A shipped recipe on little text."""
    return dataclasses.replace(recipes.load_recipe(name), calibration=FEW)


def logits(model: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.model(TOKENS).logits
    return found


@pytest.fixture(scope="module")
def full_precision() -> LoadedModel:
    return quantguard.load("tiny-reasoner")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A finished folder, for reading alone."""
    path = tmp_path_factory.mktemp("models") / "tiny-w8a8"
    quantguard.quantize_to_folder("tiny-reasoner", "w8a8", path)
    return path


@pytest.fixture
def copied(folder: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A finished folder to damage."""
    path = tmp_path / folder.name
    path.mkdir()
    for file in folder.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    return path


# Whole integers, packed ones, zero points, odd groups, static scales, code books, online rotations, caches, one that
# needs the whole model in memory.
NAMES = (
    "w8a8",
    "w4a8",
    "awq-w3a16",
    "gptq-w4a16",
    "quip-w2a16",
    "smoothquant-w8a8kv8-static",
    "quarot-w4a4kv4",
    "reasoning traces",
)


@pytest.mark.parametrize("name", NAMES)
def test_from_disk_to_disk_is_the_same_model(name: str, full_precision: LoadedModel, tmp_path: pathlib.Path) -> None:
    traces = CalibrationArgs(dataset="reasoning-traces", source="word-problems", num_samples=2, max_length=64)
    recipe = dataclasses.replace(brief("gptq-w4a16"), calibration=traces) if " " in name else brief(name)
    saved = quantguard.quantize_to_folder("tiny-reasoner", recipe, tmp_path / "model")
    in_memory, loaded = quantguard.quantize(full_precision, recipe), quantguard.load(saved.path)
    assert torch.equal(logits(in_memory), logits(loaded))
    assert loaded.layer_reports == in_memory.layer_reports == saved.reports
    for field in ("recipe", "calibration_sha256", "weights_sha256", "stored_bytes", "dtype", "notes"):
        assert getattr(loaded, field) == getattr(in_memory, field), field


def test_a_lost_key_rotation_would_be_seen(
    full_precision: LoadedModel, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = brief("quarot-w4a4kv4")
    quantguard.quantize_to_folder("tiny-reasoner", recipe, tmp_path / "model")
    restore = block_state._restore_attention

    def forgetful(block: object, state: object, left: dict[str, torch.Tensor], config: object) -> None:
        kept = {name: t for name, t in left.items() if "_transform" not in name or ".extension." not in name}
        restore(block, state, kept, config)  # type: ignore[arg-type]
        for name in [name for name in left if ".extension." in name]:
            del left[name]

    monkeypatch.setattr(block_state, "_restore_attention", forgetful)
    loaded = quantguard.load(tmp_path / "model")
    assert not torch.equal(logits(quantguard.quantize(full_precision, recipe)), logits(loaded))


@pytest.mark.parametrize(
    ("name", "complaint"), [("query_transform", "one transform is missing"), ("keys.shift", "that nothing takes")]
)
def test_attention_that_is_not_what_was_saved_is_refused(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str, complaint: str
) -> None:
    restore = block_state._restore_attention

    def planted(block: Block, state: object, left: dict[str, torch.Tensor], config: object) -> None:
        left[f"{block.name}.self_attn.extension.{name}"] = torch.eye(2)
        restore(block, state, left, config)  # type: ignore[arg-type]

    monkeypatch.setattr(block_state, "_restore_attention", planted)
    with pytest.raises(ModelError, match=complaint):
        quantguard.load(folder)


def start(output: pathlib.Path, recipe: pathlib.Path) -> subprocess.Popen[bytes]:
    code = "import sys; from quantguard.cli.__main__ import main; sys.exit(main())"
    command = ["quantize", "tiny-reasoner", "--recipe", str(recipe), "--output", str(output)]
    return subprocess.Popen([sys.executable, "-c", code, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_killed_run_goes_on_to_the_same_files(tmp_path: pathlib.Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipes.dump_recipe(brief("gptq-w4a16")))
    with start(tmp_path / "whole", recipe) as process:
        _, progress = process.communicate()
    assert b"2/4, layer 1, error " in progress
    assert b" left: quantizing" in progress
    resumed = tmp_path / "resumed"
    with start(resumed, recipe) as process:
        while process.poll() is None and not list(resumed.glob("quantguard-00002*")):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert not native.is_native(resumed)
    with pytest.raises(ModelError, match="not finished"):
        quantguard.load(resumed)
    with pytest.raises(UsageError, match="unfinished run of another"):
        quantguard.quantize_to_folder("tiny-reasoner", "w8a8", resumed)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(UsageError, match="number of threads"):
            quantguard.quantize_to_folder("tiny-reasoner", recipe, resumed)
    finally:
        torch.set_num_threads(threads)
    with start(resumed, recipe) as process:
        shown, _ = process.communicate()
    assert process.returncode == 0
    assert b"of them by an earlier run" in shown
    whole = {file.name: file.read_bytes() for file in (tmp_path / "whole").iterdir()}
    assert {file.name: file.read_bytes() for file in resumed.iterdir()} == whole


def test_a_run_that_was_killed_in_its_last_moment_can_be_finished(copied: pathlib.Path) -> None:
    before = (copied / native.MANIFEST).read_bytes()
    scratch = copied / native.UNFINISHED
    scratch.mkdir()
    manifest = unseal(json.loads(before))
    begun = dataclasses.replace(native.MANIFEST_FILE.parse(before.decode()), files={}, blocks={})
    (scratch / "settings.json").write_text(json.dumps({"settings": digest([begun, torch.get_num_threads()])}))
    for index, state in enumerate(manifest["blocks"].values()):
        (scratch / f"block-{index + 1}.json").write_text(json.dumps(seal({"state": state, "beyond": []})))
    # It was killed while files got their last names.
    (copied / "model-00004-of-00005.safetensors").rename(copied / "quantguard-00004-of-00005.safetensors")
    write_tensors(scratch / "behind-4.safetensors", {})
    (copied / ".writing-x").mkdir()
    (copied / ".writing-x/half.safetensors").write_bytes(b"half")
    assert quantguard.quantize_to_folder("tiny-reasoner", "w8a8", copied).num_resumed == 4
    assert (copied / native.MANIFEST).read_bytes() == before
    assert not native.is_unfinished(copied)
    assert not list(copied.glob(".*"))


def test_a_folder_that_holds_something_is_left_alone(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="is a quantized model already"):
        quantguard.quantize_to_folder("tiny-reasoner", "w8a8", folder)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not empty"):
        quantguard.quantize_to_folder("tiny-reasoner", "w8a8", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["model-00002-of-00005.safetensors", "tokenizer.json", "config.json"])
def test_a_changed_file_is_refused(copied: pathlib.Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[-5] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is not what was written"):
        quantguard.load(copied)


def test_a_missing_file_is_refused(copied: pathlib.Path) -> None:
    (copied / "model-00003-of-00005.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-00003-of-00005\.safetensors is missing"):
        quantguard.load(copied)


def test_a_file_without_a_hash_is_refused(copied: pathlib.Path) -> None:
    manifest = unseal(json.loads((copied / native.MANIFEST).read_text()))
    del manifest["files"]["model-00004-of-00005.safetensors"]
    (copied / native.MANIFEST).write_text(json.dumps(seal(manifest)))
    with pytest.raises(ModelError, match="has no hash of it"):
        quantguard.load(copied)


def test_a_damaged_manifest_is_refused(copied: pathlib.Path) -> None:
    (copied / native.MANIFEST).write_text("{")
    with pytest.raises(ModelError, match="is damaged"):
        quantguard.load(copied)


@pytest.mark.parametrize("change", ["dropped", "added"])
def test_a_tensor_too_few_or_too_many_is_refused(copied: pathlib.Path, change: str) -> None:
    file = copied / "model-00002-of-00005.safetensors"
    tensors = safetensors.torch.load_file(file)
    name = "model.layers.1.self_attn.q_proj.bias"
    if change == "dropped":
        del tensors[name]
    else:
        tensors["model.layers.1.self_attn.o_proj.bias"] = tensors[name].clone()
    safetensors.torch.save_file(tensors, file)
    path = copied / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] = {n: f for n, f in index["weight_map"].items() if n != name or change == "added"}
    index["weight_map"] |= dict.fromkeys(tensors, file.name)
    path.write_text(json.dumps(index))
    manifest = unseal(json.loads((copied / native.MANIFEST).read_text()))
    for changed in (file, path):
        manifest["files"][changed.name] = file_sha256(changed)
    (copied / native.MANIFEST).write_text(json.dumps(seal(manifest)))
    with pytest.raises(ModelError, match=r"model\.layers\.1.*[qo]_proj\.bias"):
        quantguard.load(copied)


def test_plain_transformers_refuses_what_only_quantguard_can_run(tmp_path: pathlib.Path) -> None:
    saved = quantguard.quantize_to_folder("tiny-reasoner", brief("quarot-w8a8kv8"), tmp_path / "model")
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        transformers.AutoModelForCausalLM.from_pretrained(saved.path)


def test_checking_sees_what_is_wrong_beside_the_standard(tmp_path: pathlib.Path) -> None:
    path = quantguard.quantize_to_folder("tiny-reasoner", brief("quarot-w8a8kv8"), tmp_path / "model").path
    assert checking.check(path).defects == ()
    file = path / "quantguard-00002-of-00005.safetensors"
    tensors = safetensors.torch.load_file(file)
    name = next(name for name in tensors if name.endswith("down_proj.input_transform.left"))
    tensors[name][0, 1] = torch.nan
    safetensors.torch.save_file(tensors, file)
    [defect] = checking.check(path).defects
    assert str(defect) == f"{file.name}: {name}: values are finite; nan is at [0, 1]"


def test_it_is_compared_with_what_it_was_made_from(copied: pathlib.Path) -> None:
    loaded = quantguard.load(copied)
    assert full_precision_of(loaded).recipe is None
    with pytest.raises(ModelError, match="has other weights"):
        full_precision_of(dataclasses.replace(loaded, weights_sha256="0" * 64))
    with pytest.raises(ModelError, match="compared with the model that it was made from"):
        full_precision_of(dataclasses.replace(loaded, source="/nowhere"))


def test_the_record_of_a_run_has_the_hash_of_the_files_that_were_read(
    folder: pathlib.Path, copied: pathlib.Path
) -> None:
    loaded = quantguard.load(folder)
    record = quantguard.evaluate(loaded, subset=1)
    assert record.recorded["files"] == loaded.files_sha256 == quantguard.load(copied).files_sha256
    assert loaded.files_sha256 not in record.fingerprint.facts().values()
    manifest = unseal(json.loads((copied / native.MANIFEST).read_text()))
    (copied / "README.md").write_text("another card")
    manifest["files"]["README.md"] = file_sha256(copied / "README.md")
    (copied / native.MANIFEST).write_text(json.dumps(seal(manifest)))
    assert quantguard.load(copied).files_sha256 != loaded.files_sha256


def test_its_type_cannot_be_changed(folder: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="dtype='bfloat16'"):
        quantguard.load(folder, dtype="bfloat16")
