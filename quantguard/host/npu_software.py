"""The Ascend NPUs of a machine and their software: models, driver, CANN and torch_npu, each read from its source.

Nothing is guessed: what cannot be read is absent. Sources: ``npu-smi info`` for the models; ``version.info`` of the
driver below the folder that ``/etc/ascend_install.info`` names; for CANN, which ``set_env.sh`` points to by
``ASCEND_HOME_PATH``, the ``ascend_*_install.info`` that torch_npu reads too.
"""

import dataclasses
import functools
import os
import pathlib
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata

from quantguard.errors import UsageError

_ROOT = pathlib.Path("/")
_DEFAULT_INSTALLATION = "/usr/local/Ascend"
_HOMES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
_NPU_SMI_SECONDS = 30
# As in "| 0     910B3       | OK       | 94.2 …"; the line of its chip, below it, has a bus id in place of a health.
_DEVICE_LINE = re.compile(r"^\|\s*\d+\s+(\S+)\s*\|\s*[A-Za-z]+\s*\|", flags=re.MULTILINE)
# 910B3 and Ascend910B3 are of the family 910B: what computes is the same, the number of cores differs.
_FAMILY = re.compile(r"\d{3}[A-Za-z]?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NpuSoftware:
    """The Ascend NPUs of a machine and the versions of their software; each is absent if it cannot be read.

    Attributes:
        npu_models: The model of each NPU, such as ``910B3``; empty if ``npu-smi`` shows none or is not installed.
        driver: The version of the driver.
        cann: The version of CANN.
        torch_npu: The version of torch_npu.
    """

    npu_models: tuple[str, ...] = ()
    driver: str | None = None
    cann: str | None = None
    torch_npu: str | None = None

    def facts(self) -> dict[str, str]:
        """Return what is known, by name, without what is absent."""
        named = {
            "npu": ", ".join(dict.fromkeys(self.npu_models)) or None,
            "npu_driver": self.driver,
            "cann": self.cann,
            "torch_npu": self.torch_npu,
        }
        return {name: value for name, value in named.items() if value is not None}

    def platform(self) -> str:
        """Return the platform of runs on these NPUs, such as ``ascend-910b`` for 910B1 to 910B4.

        Raises UsageError if the NPUs are unknown or of several platforms.
        """
        families = sorted({found[0].lower() for model in self.npu_models if (found := _FAMILY.search(model))})
        if len(families) == 1:
            return f"ascend-{families[0]}"
        seen = ", ".join(dict.fromkeys(self.npu_models)) or "no NPU"
        raise UsageError(
            f"a run on an NPU belongs to one platform, such as ascend-910b, and npu-smi shows {seen}."
            " Type: npu-smi info; its folder has to be on PATH"
        )


@functools.cache
def installed_npu_software() -> NpuSoftware:
    """Read the software of this machine, once per process: ``npu-smi`` takes a second or more."""
    return read_npu_software(_ROOT, os.environ)


def read_npu_software(root: pathlib.Path, environment: Mapping[str, str]) -> NpuSoftware:
    """Read the software of the machine whose files are below ``root``, under an environment."""
    return NpuSoftware(
        npu_models=_npu_models(environment),
        driver=_driver(root),
        cann=_cann(environment),
        torch_npu=version_of("torch_npu"),
    )


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution, without importing it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def cann_script(root: pathlib.Path = _ROOT) -> pathlib.Path | None:
    """Return the shell script that sets up CANN, or None if it is not in the usual place."""
    paths = (root / _DEFAULT_INSTALLATION.lstrip("/") / folder / "set_env.sh" for folder in ("cann", "ascend-toolkit"))
    return next((path for path in paths if path.is_file()), None)


def _npu_models(environment: Mapping[str, str]) -> tuple[str, ...]:
    command = shutil.which("npu-smi", path=environment.get("PATH", os.defpath))
    if command is None:
        return ()
    try:
        shown = subprocess.run(  # noqa: S603 - the vendor's tool, found on PATH
            [command, "info"], capture_output=True, text=True, timeout=_NPU_SMI_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(_DEVICE_LINE.findall(shown.stdout)) if shown.returncode == 0 else ()


def _driver(root: pathlib.Path) -> str | None:
    installation = _setting(root / "etc/ascend_install.info", "Driver_Install_Path_Param") or _DEFAULT_INSTALLATION
    return _setting(root / installation.lstrip("/") / "driver/version.info", "Version")


def _cann(environment: Mapping[str, str]) -> str | None:
    for home in (environment[name] for name in _HOMES if environment.get(name)):
        folder = pathlib.Path(home) / f"{platform.machine()}-linux"
        for path in (folder / "ascend_toolkit_install.info", *sorted(folder.glob("ascend_*_install.info"))):
            if (version := _setting(path, "version")) is not None:
                return version
    return None


def _setting(path: pathlib.Path, key: str) -> str | None:
    """Return the value of the line ``key=value``, or None if there is no such file or line."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{re.escape(key)}=[ \t]*(\S+)", text, flags=re.MULTILINE)
    return found[1] if found else None
