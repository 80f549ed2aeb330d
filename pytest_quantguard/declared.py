"""Gates that stand in a file instead of a test: ``quantguard.toml``, or ``[[tool.quantguard.gate]]`` in pyproject.toml.

[[gate]]
name = "release"
model = "tiny-reasoner"
recipe = "w8a8"
accuracy = { tol = 0.045 }
memory = { max_ratio = 0.6 }
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest

from pytest_quantguard import baseline_sharing, fixtures
from pytest_quantguard.markers import gate_marker, gates_of
from pytest_quantguard.options import GROUP
from quantguard.run_options import Target

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

FILE = "quantguard.toml"
# Files with gates in the root folder that a run does not run.
LEFT_OUT = pytest.StashKey[list[str]]()
_PYPROJECT = "pyproject.toml"
# What guard.check takes, all of it text.
_TARGET = tuple(field.name for field in dataclasses.fields(Target))
# Stands for the NPU of the process, as the fixture npu_device does.
_NPU = "npu"


def collect(path: pathlib.Path, parent: pytest.Collector) -> GateFile | None:
    """Collect a file that may hold gates."""
    return GateFile.from_parent(parent, path=path) if _may_hold_gates(path) else None


def _may_hold_gates(path: pathlib.Path) -> bool:
    """Tell whether a file is one of gates, or a project's with some of the name in it."""
    if path.name != _PYPROJECT:
        return path.name == FILE
    # A project's file that is no TOML is pytest's to complain of.
    return b"tool.quantguard" in path.read_bytes()


def add_root_files(config: pytest.Config) -> None:
    """Let a run that names no files have the gates of the root folder."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    for name in (FILE, _PYPROJECT):
        path = config.rootpath / name
        if not path.is_file() or not _may_hold_gates(path):
            continue
        if not named and str(path) not in config.args:
            config.args.append(str(path))
        if named and not _is_within(path, config):
            config.stash.setdefault(LEFT_OUT, []).append(name)


def _is_within(path: pathlib.Path, config: pytest.Config) -> bool:
    """Tell whether a file is one of those that a run names, or in a folder that it names."""
    named = [(config.invocation_params.dir / arg.partition("::")[0]).resolve() for arg in config.args]
    return any(path.resolve().is_relative_to(given) for given in named)


def show_left_out(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which files of gates in the root folder a run that names others has left out."""
    if names := config.stash.get(LEFT_OUT, []):
        files = " and ".join(names)
        terminalreporter.write_line(
            f"quantguard: the gates of {files} in the root folder were not run, since this run names what it runs; name"
            f" {'them' if len(names) > 1 else 'it'} too: pytest --quantguard {' '.join([*config.args, *names])}",
            yellow=True,
        )


class GateFile(pytest.File):
    """A file of gates, each of which is a test."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the gates; raises CollectError, with the line, for what cannot be meant."""
        from quantguard.errors import RecordError  # noqa: PLC0415 - as below
        from quantguard.records.files import parse_toml, read_text  # noqa: PLC0415

        try:
            text = read_text(self.path)
            table: Any = parse_toml(text)
        except RecordError as error:
            raise self.CollectError(f"{self.path.name} holds no gates: {error}") from error
        if self.path.name == _PYPROJECT:
            table = table.get("tool", {}).get(GROUP)
            # The words stood in a comment or a text.
            if table is None:
                return
        if not isinstance(table, dict):
            raise self._error(text, None, GROUP, f"{GROUP} is a table, not {table!r}")
        self._refuse_unknown(table, {"gate"}, text, number=None)
        entries = table.get("gate", [])
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise self.CollectError(f"{self.path.name} holds no gates: each begins with [[gate]]")
        names: set[str] = set()
        for number, entry in enumerate(entries):
            item = self._item(entry, text, number)
            if item.name in names:
                raise self._error(text, number, "name", f"two gates are called {item.name!r}")
            names.add(item.name)
            yield item

    def _item(self, entry: dict[str, Any], text: str, number: int) -> DeclaredGate:
        from quantguard import registry  # noqa: PLC0415 - an unrelated run does not pay for what only gates need
        from quantguard.errors import UsageError  # noqa: PLC0415

        self._refuse_unknown(entry, {"name", *_TARGET, *registry.gates}, text, number=number)
        for key in ("name", *_TARGET):
            if key in entry and not isinstance(entry[key], str):
                raise self._error(text, number, key, f"{key} is text, not {entry[key]!r}")
        for key in ("name", "model"):
            if not entry.get(key):
                raise self._error(text, number, None, f"{key} is missing")
        kinds = [kind for kind in entry if kind in registry.gates]
        if not kinds:
            possible = ", ".join(f"{kind} = {{ … }}" for kind in registry.gates)
            raise self._error(text, number, None, f"it asks for nothing; possible: {possible}")
        target = {key: entry[key] for key in _TARGET if key in entry}
        item = DeclaredGate.from_parent(self, name=entry["name"], target=target)
        # Markers are read as decorators are, from the last to the first.
        for kind in reversed(kinds):
            if not isinstance(entry[kind], dict):
                raise self._error(text, number, kind, f"{kind} is a table such as {{ tol = 0.1 }}, not {entry[kind]!r}")
            try:
                item.add_marker(gate_marker(kind)(**entry[kind]))
            except (UsageError, TypeError) as error:
                raise self._error(text, number, kind, str(error)) from error
        if (problem := baseline_sharing.clash(self.config, item.nodeid, target, gates_of(item))) is not None:
            raise self._error(text, number, "name", problem)
        return item

    def _refuse_unknown(self, table: dict[str, Any], possible: set[str], text: str, *, number: int | None) -> None:
        import difflib  # noqa: PLC0415

        for key in table:
            if key not in possible:
                close = difflib.get_close_matches(key, possible, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise self._error(
                    text, number, key, f"unknown key {key!r}.{hint} Possible: {', '.join(sorted(possible))}"
                )

    def _error(self, text: str, number: int | None, key: str | None, message: str) -> pytest.Collector.CollectError:
        return self.CollectError(f"{self.path.name}:{_line_of(text, number, key)}: {message}")


class DeclaredGate(pytest.Item):
    """One gate of a file."""

    def __init__(self, *, target: dict[str, str], **settings: Any) -> None:
        super().__init__(**settings)
        self._target = target

    def runtest(self) -> None:
        """Check what the file says."""
        target = dict(self._target)
        if target.get("device") == _NPU:
            target["device"] = fixtures.hold_npu(self.config)
        fixtures.Guard(self, self.config.stash[fixtures.OPTIONS]).check(**target)

    def reportinfo(self) -> tuple[pathlib.Path, int | None, str]:
        """Say where the gate stands."""
        return self.path, None, f"gate {self.name}"


def _line_of(text: str, number: int | None, key: str | None) -> int:
    """Return the line of a key, in the ``number``-th gate or in the whole; of the gate where the key is not found."""
    lines = text.splitlines()
    heads = [index for index, line in enumerate(lines, 1) if re.match(r"\s*\[\[(tool\.quantguard\.)?gate\]\]", line)]
    first = 1 if number is None or number >= len(heads) else heads[number]
    last = heads[number + 1] - 1 if number is not None and number + 1 < len(heads) else len(lines)
    wanted = re.compile(rf"\s*(\[\[?[\w.]*)?\b{re.escape(key or '')}\b")
    found = [index for index in range(first, last + 1) if key and wanted.match(lines[index - 1])]
    return found[0] if found else first
