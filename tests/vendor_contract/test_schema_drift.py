"""A release that lacks an operation, or an argument that we pass, is told by name."""

import pathlib
import zipfile

import pytest
import yaml

from quantguard.kernels.ascend.schemas import PASSED, SCHEMAS
from tests.support.schema_drift import ABILITIES, YAML, main, schemas_of


def wheel(folder: pathlib.Path, release: str, changes: dict[str, str | None]) -> pathlib.Path:
    listed = [schema for op, ours in SCHEMAS.items() if (schema := changes.get(op, ours)) is not None]
    path = folder / f"torch_npu-{release}-cp311-cp311-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(YAML, yaml.safe_dump({"custom": [{"func": schema} for schema in listed], "backend": "NPU"}))
    return path


def without(op: str, argument: str) -> str:
    return SCHEMAS[op].replace(f"Tensor? {argument}=None, ", "")


def test_every_operation_belongs_to_an_ability() -> None:
    assert {op for ops in ABILITIES.values() for op in ops} == set(SCHEMAS) == set(PASSED)


def test_schemas_are_read_from_a_wheel(tmp_path: pathlib.Path) -> None:
    assert schemas_of(wheel(tmp_path, "2.13.0", {})) == SCHEMAS


def test_a_planted_drift_is_named_and_fails_the_newest(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel(tmp_path, "2.7.1.post11", {"npu_rotate_quant": None})
    wheel(tmp_path, "2.13.0", {})
    newest = wheel(tmp_path, "2.14.0", {})
    assert main(tmp_path) == 0
    assert "| block rotation to 8 bits | lacks npu_rotate_quant | yes | yes |" in capsys.readouterr().out
    newest.unlink()
    wheel(tmp_path, "2.14.0", {"npu_quant_matmul": without("npu_quant_matmul", "pertoken_scale")})
    assert main(tmp_path) == 1
    assert "lacks npu_quant_matmul(pertoken_scale)" in capsys.readouterr().out


def test_two_releases_are_too_few(tmp_path: pathlib.Path) -> None:
    wheel(tmp_path, "2.13.0", {})
    wheel(tmp_path, "2.14.0", {})
    assert main(tmp_path) == 1
