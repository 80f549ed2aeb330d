"""The safetensors files of a folder as one: what their headers say, and tensors read when they are asked for."""

import dataclasses
import fnmatch
import functools
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import safetensors
import torch

from quantguard.errors import ModelError
from quantguard.records import Defect

INDEX = "model.safetensors.index.json"
_POINTER = b"version https://git-lfs"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """A tensor as a header has it: its file, its type as safetensors spells it (``BF16``, ``I8``) and its shape."""

    file: str
    dtype: str
    shape: tuple[int, ...]


def read_index(path: pathlib.Path) -> tuple[dict[str, str], Any]:
    """Return the file of every tensor that an index names, and its metadata; raise ModelError where it is damaged."""
    try:
        stored = json.loads(path.read_text())
        weight_map: dict[str, str] = stored["weight_map"]
        files = [pathlib.PurePath(file) for file in weight_map.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is no index with a weight_map: {error!r}") from error
    if strange := sorted({str(file) for file in files if file.name != str(file) or file.suffix != ".safetensors"}):
        raise ModelError(f"{path} names {strange[0]!r}; possible are .safetensors files beside it")
    return weight_map, stored.get("metadata")


class TensorFiles:
    """The tensors of a folder by name: those of its one file, or where that is not there, of the files in its index.

    That is what transformers reads, which wants no index where there is one file, and asks an index for no more than
    the names of files; ``indexed`` says which of the two it is told to read. Files and index that do not agree are
    found here once, in ``defects``.
    """

    def __init__(self, path: pathlib.Path, *, index: str = INDEX, indexed: bool | None = None) -> None:
        self.path, self.index = path, index
        self._single = index.removesuffix(".index.json")
        by_index = (path / index).is_file() and not (path / self._single).is_file()
        self.has_index = by_index if indexed is None else indexed
        self._found: list[Defect] = []
        self._headers: dict[str, dict[str, TensorEntry]] = {}
        self.metadata: Any = None
        if self.has_index:
            self._files, self.metadata = read_index(path / index)
        else:
            self._files = dict.fromkeys(self._header(self._single), self._single)

    def _header(self, file: str) -> dict[str, TensorEntry]:
        """Return what is in a file; a file that cannot be read is a defect, and holds nothing."""
        if file not in self._headers:
            self._headers[file] = self._read_header(file)
        return self._headers[file]

    def _read_header(self, file: str) -> dict[str, TensorEntry]:
        if not (self.path / file).is_file():
            linked = " (it is a link to a file that is not there)" if (self.path / file).is_symlink() else ""
            self._found.append(Defect(file=file, rule=f"the file is missing{linked}"))
            return {}
        try:
            with safetensors.safe_open(self.path / file, framework="pt") as opened:
                slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
                return {
                    name: TensorEntry(file=file, dtype=part.get_dtype(), shape=tuple(part.get_shape()))
                    for name, part in slices.items()
                }
        except (OSError, safetensors.SafetensorError) as error:
            self._found.append(Defect(file=file, rule=f"the file is damaged: {self._damage(file) or error}"))
            return {}

    def _damage(self, file: str) -> str | None:
        """Say what lies there in the place of weights, where that is known."""
        with (self.path / file).open("rb") as stream:
            first = stream.read(len(_POINTER))
        if not first:
            return "it is empty"
        return "it is a pointer of git-lfs, not the weights; type git lfs pull" if first == _POINTER else None

    @property
    def names(self) -> Sequence[str]:
        """The names of all tensors that should be there."""
        return tuple(self._files)

    @property
    def found_by(self) -> str:
        """The name of the file that says which tensors there are: the index, or the one file."""
        return self.index if self.has_index else self._single

    @property
    def files(self) -> set[str]:
        """The names of the files that hold them."""
        return set(self._files.values())

    def in_file(self, file: str) -> Sequence[TensorEntry]:
        """Return the tensors of one file in its own order."""
        return tuple(self._header(file).values())

    @functools.cached_property
    def entries(self) -> dict[str, TensorEntry]:
        """The tensors that are there, with their types and shapes, whether the index names them or not."""
        headers = {file: self._header(file) for file in sorted(self.files)}
        there = {name: entry for header in headers.values() for name, entry in header.items()}
        named = {name: headers[file][name] for name, file in self._files.items() if name in headers[file]}
        return there | named

    @functools.cached_property
    def defects(self) -> tuple[Defect, ...]:
        """Where index and files do not agree, and files that programs choose between differently."""
        return (*self._disagreements(), *self._found)

    def refuse_unreadable(self) -> None:
        """Raise ModelError where transformers would find no such file or tensor, or has to choose between two.

        What it passes over is no reason: another model's files, an index beside the one file, a wrong total size.
        """
        held: dict[str, str] = {}
        for file in sorted(self.files):
            for name in self._header(file):
                if name in held:
                    self._refuse(Defect(file=file, tensor=name, rule=f"{held[name]} has a tensor of this name too"))
                held[name] = file
        for defect in self._found:
            self._refuse(defect)
        for name, file in self._files.items():
            if name not in held:
                self._refuse(Defect(file=file, tensor=name, rule=f"{self.index} says that it is there, and it is not"))
        if not held:
            self._refuse(Defect(file=self.found_by, rule="there are no tensors"))
        if self.has_index and not isinstance(self.metadata, dict):
            self._refuse(Defect(file=self.index, rule='it has no "metadata", which transformers asks for'))

    def _refuse(self, defect: Defect) -> None:
        raise ModelError(f"{self.path / defect.file}: {': '.join(filter(None, (defect.tensor, defect.rule)))}")

    def _disagreements(self) -> Iterator[Defect]:
        unreadable = {file for file in self.files if not self._header(file)}
        for name, file in self._files.items():
            if name not in self._header(file) and file not in unreadable:
                yield Defect(file=file, tensor=name, rule=f"{self.index} says that it is in this file, and it is not")
        for file in sorted(self.files):
            for name in self._header(file):
                if self._files.get(name) != file:
                    yield Defect(file=file, tensor=name, rule=f"{self.index} does not say that it is in this file")
        for file in sorted(self._strays()):
            yield Defect(file=file, rule="no tensor of this file belongs to the model; is it left from another one?")
        if not self.has_index and (self.path / self.index).is_file():
            rule = f"it lies beside {self._single}: transformers reads that, and vLLM what this names; remove one"
            yield Defect(file=self.index, rule=rule)

    def _strays(self) -> set[str]:
        pattern = f"{self._single.removesuffix('.safetensors')}*.safetensors"
        return {file.name for file in self.path.iterdir() if fnmatch.fnmatch(file.name, pattern)} - self.files

    def read(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return copies of all tensors whose name starts with ``prefix``, without it."""
        named = self.read_named(name for name in self.entries if name.startswith(prefix))
        return {name.removeprefix(prefix): tensor for name, tensor in named.items()}

    def read_named(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Return copies of the named tensors; raise ModelError for one that cannot be read."""
        by_file: dict[str, list[str]] = {}
        for name in names:
            if name not in self.entries:
                raise ModelError(f"{self.path / self._files.get(name, self.index)}: {name} is not there")
            by_file.setdefault(self.entries[name].file, []).append(name)
        found = {}
        for file, wanted in by_file.items():
            try:
                with safetensors.safe_open(self.path / file, framework="pt") as opened:
                    found.update({name: opened.get_tensor(name).clone() for name in wanted})
            except (OSError, safetensors.SafetensorError) as error:
                raise ModelError(f"{self.path / file} cannot be read: {error}") from error
        return found
