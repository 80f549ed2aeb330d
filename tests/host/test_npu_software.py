"""What a machine says of its NPUs is read where the vendor keeps it, and what is not there is absent."""

import pathlib
import platform

import pytest

import quantguard
from quantguard.errors import UsageError
from quantguard.host import npu_software
from quantguard.host.npu_software import NpuSoftware, cann_script, read_npu_software

# As the vendor's tool prints on an 8-NPU server (two of them), and on an inference card with its "Device" column.
NPU_SMI = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc2                 Version: 24.1.rc2                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 2     910B4               | OK            | 88.9        39                0    / 0             |
| 0                         | 0000:C2:00.0  | 0           0    / 0          2858 / 32768         |
+===========================+===============+====================================================+
| 5     910B4               | Alarm         | 88.9        39                0    / 0             |
| 0                         | 0000:C3:00.0  | 0           0    / 0          2858 / 32768         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 2                                                            |
+===========================+===============+====================================================+
"""
NPU_SMI_310 = """\
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
| 6       310P3                 | OK              | NA           50                0     / 0             |
| 0       0                     | 0000:84:00.0    | 0            1839 / 21525                            |
| 0       0                     | 4321            | python                   | 500                       |
"""


def plant_tool(folder: pathlib.Path, text: str, status: int = 0) -> dict[str, str]:
    """Plant an npu-smi and return the environment that finds it."""
    (folder / "bin").mkdir()
    tool = folder / "bin/npu-smi"
    tool.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{text}END\nexit {status}\n")
    tool.chmod(0o755)
    return {"PATH": str(folder / "bin")}


def plant(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_a_machine_without_npus_has_no_facts(tmp_path: pathlib.Path) -> None:
    host = read_npu_software(tmp_path, {"PATH": str(tmp_path)})
    assert host == NpuSoftware(npu_models=(), driver=None, cann=None, torch_npu=None)
    assert host.facts() == {}


@pytest.mark.parametrize(
    ("shown", "models"), [(NPU_SMI, ("910B4", "910B4")), (NPU_SMI_310, ("310P3",))], ids=["910B4", "310P3"]
)
def test_models_come_from_npu_smi(tmp_path: pathlib.Path, shown: str, models: tuple[str, ...]) -> None:
    host = read_npu_software(tmp_path, plant_tool(tmp_path, shown))
    assert host.npu_models == models
    assert host.facts() == {"npu": models[0]}


@pytest.mark.parametrize(
    ("shown", "status"),
    [(NPU_SMI, 255), ("dcmi model initialized failed, because the device is used. ret is -8020\n", 0), ("", 0)],
    ids=["it fails", "it complains", "it says nothing"],
)
def test_an_npu_smi_that_shows_no_npu_invents_none(tmp_path: pathlib.Path, shown: str, status: int) -> None:
    assert read_npu_software(tmp_path, plant_tool(tmp_path, shown, status)).npu_models == ()


def test_an_npu_smi_that_cannot_be_run_invents_none(tmp_path: pathlib.Path) -> None:
    environment = plant_tool(tmp_path, "")
    (tmp_path / "bin/npu-smi").write_text("#!/no/such/shell\n")
    assert read_npu_software(tmp_path, environment).npu_models == ()


def test_the_driver_is_where_it_was_installed(tmp_path: pathlib.Path) -> None:
    version = "Version=24.1.rc2\nascendhal_version=7.35.19\n"
    plant(tmp_path / "usr/local/Ascend/driver/version.info", version)
    assert read_npu_software(tmp_path, {}).driver == "24.1.rc2"
    plant(tmp_path / "etc/ascend_install.info", "UserName=HwHiAiUser\nDriver_Install_Path_Param=/opt/npu\n")
    assert read_npu_software(tmp_path, {}).driver is None
    plant(tmp_path / "opt/npu/driver/version.info", version.replace("24.1.rc2", "25.3.rc1"))
    assert read_npu_software(tmp_path, {}).driver == "25.3.rc1"


@pytest.mark.parametrize("variable", ["ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"])
@pytest.mark.parametrize("file", ["ascend_toolkit_install.info", "ascend_nnrt_install.info"])
def test_cann_is_where_its_script_points(tmp_path: pathlib.Path, variable: str, file: str) -> None:
    plant(tmp_path / f"{platform.machine()}-linux" / file, "package_name=Ascend-cann\nversion=8.5.0\ninnerversion=V1\n")
    assert read_npu_software(tmp_path, {variable: str(tmp_path)}).cann == "8.5.0"
    assert read_npu_software(tmp_path, {}).cann is None


def test_the_script_that_sets_cann_up_is_found_where_it_is_installed(tmp_path: pathlib.Path) -> None:
    assert cann_script(tmp_path) is None
    for folder in ("ascend-toolkit", "cann"):
        script = tmp_path / f"usr/local/Ascend/{folder}/set_env.sh"
        plant(script, "")
        assert cann_script(tmp_path) == script


def test_a_file_without_the_version_says_nothing(tmp_path: pathlib.Path) -> None:
    plant(tmp_path / "usr/local/Ascend/driver/version.info", "Version=\ninner=1\n")
    plant(tmp_path / f"{platform.machine()}-linux/ascend_toolkit_install.info", "innerversion=V1\n")
    assert read_npu_software(tmp_path, {"ASCEND_HOME_PATH": str(tmp_path)}).facts() == {}


def test_torch_npu_is_told_by_its_metadata_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path / "torch_npu-2.13.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: torch-npu\nVersion: 2.13.0\n")
    plant(tmp_path / "torch_npu/__init__.py", "raise AssertionError('it was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert read_npu_software(tmp_path, {}).facts() == {"torch_npu": "2.13.0"}


@pytest.mark.parametrize(
    ("models", "platform_name"),
    [
        (("910B4", "910B4"), "ascend-910b"),
        (("910B1", "Ascend910B3"), "ascend-910b"),
        (("310P3",), "ascend-310p"),
        (("910_9362",), "ascend-910"),
    ],
    ids=["one model", "one family", "an inference card", "a chip without a letter"],
)
def test_the_platform_of_a_run_is_the_family_of_the_npus(models: tuple[str, ...], platform_name: str) -> None:
    assert NpuSoftware(npu_models=models).platform() == platform_name


@pytest.mark.parametrize("models", [(), ("910B4", "310P3"), ("Ascend",)], ids=["none", "two families", "no number"])
def test_npus_that_are_of_no_one_platform_have_no_baselines(models: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="npu-smi shows"):
        NpuSoftware(npu_models=models).platform()


def test_a_record_holds_the_facts_of_the_machine_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> dict[str, str]:
        return quantguard.evaluate("tiny-reasoner", subset=1, max_new_tokens=2).recorded

    monkeypatch.setattr(npu_software, "installed_npu_software", NpuSoftware)
    bare = run()
    assert not {"npu", "npu_driver", "cann", "torch_npu"} & set(bare)
    host = NpuSoftware(npu_models=("910B4", "910B4"), driver="25.3.rc1", torch_npu="2.13.0")
    monkeypatch.setattr(npu_software, "installed_npu_software", lambda: host)
    assert run() == bare | {"npu": "910B4", "npu_driver": "25.3.rc1", "torch_npu": "2.13.0"}
