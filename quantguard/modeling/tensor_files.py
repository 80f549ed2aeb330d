"""The safetensors files of a folder as one: what their headers say, and tensors read when they are asked for."""

import dataclasses
import fnmatch
import functools
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import safetensors
import torch

from quantguard.errors import ModelError
from quantguard.records import Defect


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """A tensor as a header has it: its file, its type as safetensors spells it (``BF16``, ``I8``) and its shape."""

    file: str
    dtype: str
    shape: tuple[int, ...]


class TensorFiles:
    """The tensors of a folder by name, as its index has them, or its one file where there is no index.

    Files and index that do not agree are found here once, in ``defects``; reading raises ModelError for them.
    """

    def __init__(self, path: pathlib.Path, *, index: str = "model.safetensors.index.json") -> None:
        self.path, self.index = path, index
        self._single = index.removesuffix(".index.json")
        self.has_index = (path / index).is_file()
        self._found: list[Defect] = []
        self._headers: dict[str, dict[str, TensorEntry]] = {}
        self._files = self._read_index() if self.has_index else {}
        if not self.has_index:
            self._files = dict.fromkeys(self._header(self._single), self._single)

    def _read_index(self) -> dict[str, str]:
        try:
            stored = json.loads((self.path / self.index).read_text())
            weight_map: dict[str, str] = stored["weight_map"]
            paths = [pathlib.PurePath(file) for file in weight_map.values()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{self.path / self.index} is no index with a weight_map: {error!r}") from error
        if strange := sorted({str(p) for p in paths if p.name != str(p) or p.suffix != ".safetensors"}):
            raise ModelError(
                f"{self.path / self.index} names {strange[0]!r}; possible are .safetensors files beside it"
            )
        return weight_map

    def _header(self, file: str) -> dict[str, TensorEntry]:
        """Return what is in a file; a file that cannot be read is a defect, and holds nothing."""
        if file not in self._headers:
            self._headers[file] = self._read_header(file)
        return self._headers[file]

    def _read_header(self, file: str) -> dict[str, TensorEntry]:
        if not (self.path / file).is_file():
            self._found.append(Defect(file=file, rule="the file is missing"))
            return {}
        try:
            with safetensors.safe_open(self.path / file, framework="pt") as opened:
                slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
                return {
                    name: TensorEntry(file=file, dtype=part.get_dtype(), shape=tuple(part.get_shape()))
                    for name, part in slices.items()
                }
        except (OSError, safetensors.SafetensorError) as error:
            self._found.append(Defect(file=file, rule=f"the file is damaged: {error}"))
            return {}

    @property
    def names(self) -> Sequence[str]:
        """The names of all tensors that should be there."""
        return tuple(self._files)

    @property
    def files(self) -> set[str]:
        """The names of the files that hold them."""
        return set(self._files.values())

    @functools.cached_property
    def entries(self) -> dict[str, TensorEntry]:
        """The tensors that are there, with their types and shapes."""
        headers = {file: self._header(file) for file in sorted(self.files)}
        return {name: headers[file][name] for name, file in self._files.items() if name in headers[file]}

    @functools.cached_property
    def defects(self) -> tuple[Defect, ...]:
        """Where index and files do not agree."""
        return (*self._disagreements(), *self._found)

    def _disagreements(self) -> Iterator[Defect]:
        unreadable = {file for file in self.files if not self._header(file)}
        for name, file in self._files.items():
            if name not in self.entries and file not in unreadable:
                yield Defect(file=file, tensor=name, rule=f"{self.index} says that it is in this file, and it is not")
        for file in sorted(self.files):
            for name in self._header(file):
                if self._files.get(name) != file:
                    yield Defect(file=file, tensor=name, rule=f"{self.index} does not say that it is in this file")
        for file in sorted(self._strays()):
            yield Defect(file=file, rule="no tensor of this file belongs to the model; is it left from another one?")

    def _strays(self) -> set[str]:
        pattern = f"{self._single.removesuffix('.safetensors')}*.safetensors"
        return {file.name for file in self.path.iterdir() if fnmatch.fnmatch(file.name, pattern)} - self.files

    def read(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return copies of all tensors whose name starts with ``prefix``, without it."""
        named = self.read_named(name for name in self._files if name.startswith(prefix))
        return {name.removeprefix(prefix): tensor for name, tensor in named.items()}

    def read_named(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Return copies of the named tensors; raise ModelError for one that cannot be read."""
        by_file: dict[str, list[str]] = {}
        for name in names:
            by_file.setdefault(self._files[name], []).append(name)
        found = {}
        for file, wanted in by_file.items():
            try:
                with safetensors.safe_open(self.path / file, framework="pt") as opened:
                    found.update({name: opened.get_tensor(name).clone() for name in wanted})
            except (OSError, safetensors.SafetensorError) as error:
                raise ModelError(f"{self.path / file} cannot be read: {error}") from error
        return found
