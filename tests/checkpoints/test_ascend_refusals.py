"""What AscendV1 has no place for, or its server mishandles, is not exported in silence."""

import dataclasses
import pathlib
import re
from collections.abc import Callable

import pytest

import quantguard
from quantguard import recipes
from quantguard.checkpoints.ascend import REFUSALS
from quantguard.cli import __main__ as cli
from quantguard.errors import ModelError, UnknownNameError, UsageError
from quantguard.pipeline import checking
from quantguard.pipeline.exporting import export
from quantguard.records import QuantArgs, Recipe
from tests.support import exported_models as models

CHANNEL = QuantArgs(num_bits=8, strategy="channel")


def flatquant(**options: object) -> Recipe:
    recipe = models.recipe("W4A4_FLATQUANT_DYNAMIC")
    changed = {"flatquant": recipe.options["flatquant"] | options}
    return dataclasses.replace(recipe, options=changed)


RECIPES = {
    "dense W4A8": (models.recipe("W4A8_DYNAMIC"), "--force dense-w4a8"),
    "FlatQuant on o_proj": (dataclasses.replace(flatquant(epochs=8), ignore=("lm_head",)), "--force o-proj-flatquant"),
    "a clip a linear": (flatquant(share_clips=False), "--force per-linear-clips"),
    "three bits": (
        dataclasses.replace(models.recipe("W8A16"), weights=QuantArgs(num_bits=3, strategy="channel")),
        "W3A16",
    ),
    "groups": (
        dataclasses.replace(models.recipe("W8A16"), weights=QuantArgs(num_bits=8, strategy="group", group_size=32)),
        "strategy 'group'",
    ),
    "asymmetric weights": (
        dataclasses.replace(models.recipe("W8A16"), weights=dataclasses.replace(CHANNEL, symmetric=False)),
        "asymmetric",
    ),
    "code books": (dataclasses.replace(recipes.load_recipe("quip-w4a16"), calibration=models.FEW), "e8p"),
    "a rotation before W8A8": (
        dataclasses.replace(recipes.load_recipe("openpangu-w8a8"), calibration=models.FEW),
        "behind an online transform",
    ),
    "a clip without FlatQuant": (
        dataclasses.replace(
            models.recipe("W8A8_DYNAMIC"),
            input_activations=dataclasses.replace(models.per_token(8), clip_ratio=0.9),
        ),
        "clipped to 0.9",
    ),
    "a cache with a scale a token": (
        dataclasses.replace(models.recipe("W8A8_DYNAMIC"), kv_cache=models.per_token(8)),
        "AscendV1 has C8 alone",
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_refused_with_the_reason(name: str, tmp_path: pathlib.Path) -> None:
    recipe, complaint = RECIPES[name]
    source = models.write("qwen2", tmp_path / "source", "bfloat16")
    quantguard.quantize_to_folder(source, recipe, tmp_path / "ours")
    warned = [warning.rule for warning in checking.check(tmp_path / "ours").warnings]
    assert any(complaint in rule for rule in warned), warned
    with pytest.raises(ModelError, match=complaint):
        export(tmp_path / "ours", tmp_path / "theirs", form="ascend")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "source"]
    if "--force" in complaint:
        assert export(tmp_path / "ours", tmp_path / "theirs", form="ascend", forced=[complaint.split()[1]]).num_bytes


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], pathlib.Path]:
    def folder(kind: str) -> pathlib.Path:
        root = tmp_path_factory.mktemp("refused")
        source = models.write("qwen2", root / "source", "bfloat16")
        return quantguard.quantize_to_folder(source, models.recipe(kind), root / "ours").path

    return folder


def test_flatquant_is_refused_where_the_server_splits_layers(
    ours: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    folder = ours("W4A4_FLATQUANT_DYNAMIC")
    with pytest.raises(ModelError, match=r"split in 2: .* --force tensor-parallel"):
        export(folder, tmp_path / "theirs", form="ascend", tensor_parallel_size=2)
    export(folder, tmp_path / "theirs", form="ascend", tensor_parallel_size=2, forced=["tensor-parallel"])


def test_a_name_that_is_no_refusal_is_an_error_and_so_is_a_full_folder(
    ours: Callable[[str], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    folder = ours("W8A16")
    with pytest.raises(UnknownNameError, match="dense-w4a8"):
        export(folder, tmp_path / "theirs", form="ascend", forced=["dense-w4"])
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not empty"):
        export(folder, tmp_path, form="ascend")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_float32_model_and_one_that_is_not_quantized_are_refused(tmp_path: pathlib.Path) -> None:
    quantguard.quantize_to_folder("tiny-reasoner", models.recipe("W8A16"), tmp_path / "ours")
    with pytest.raises(ModelError, match="--dtype bfloat16"):
        export(tmp_path / "ours", tmp_path / "theirs", form="ascend")
    with pytest.raises(UsageError, match="no folder that quantguard quantized"):
        export("tiny-reasoner", tmp_path / "theirs", form="ascend")


def test_a_recipe_that_cannot_be_exported_is_refused_before_it_runs(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelError, match="--force dense-w4a8"):
        export("tiny-reasoner", tmp_path / "theirs", form="ascend", recipe="w4a8", dtype="bfloat16")
    with pytest.raises(ModelError, match="C8 alone"):
        export("tiny-reasoner", tmp_path / "theirs", form="ascend", recipe="smoothquant-w8a8kv8", dtype="bfloat16")
    assert not any(tmp_path.iterdir())


def test_the_command_quantizes_on_the_way_and_checks(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def invoke(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["quantguard", *arguments])
        return cli.main()

    output = str(tmp_path / "theirs")
    given = ["export", "tiny-reasoner", "--format", "ascend", "--recipe", "w8a8", "--dtype", "bfloat16"]
    assert invoke(*given, "--output", output) == 0
    assert re.search(r"ascend, [\d.]+MB", capsys.readouterr().out)
    assert invoke("check", output) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
    assert invoke("export", output, "--format", "asend", "--output", str(tmp_path / "x")) == 2
    assert "ascend" in capsys.readouterr().err


def test_every_refusal_has_a_reason() -> None:
    assert set(REFUSALS) == {"dense-w4a8", "o-proj-flatquant", "per-linear-clips", "tensor-parallel"}
