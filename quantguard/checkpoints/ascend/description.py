"""``quant_model_description.json``: the type of every tensor of an AscendV1 checkpoint, and what contradicts it."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import torch

from quantguard.checkpoints.ascend.schemes import BESIDE_FLATQUANT, CACHE, FLATQUANT, FLOAT, PACKED, TYPES
from quantguard.errors import ModelError
from quantguard.modeling import Block
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.records import Defect

FILE = "quant_model_description.json"
VERSION = "1.0.0"
# What stands beside the tensors.
_SETTINGS = (
    "version",
    "model_quant_type",
    "group_size",
    "metadata",
    "optional",
    "kv_cache_type",
    "kv_quant_type",
)
_BESIDE = ("bias", "left_trans", "right_trans", "clip_ratio")
# Entries by way of which vLLM-Ascend reads tensors that quantguard does not follow.
_OTHER_SETTINGS = ("fa_quant_type", "indexer_quant_type", "reduce_quant_type")


class Description:
    """A description as it was written: ``types`` of tensors by name, and the ``settings`` beside them.

    Raises ModelError where the file is no JSON object.
    """

    def __init__(self, path: pathlib.Path) -> None:
        try:
            stored = json.loads((path / FILE).read_text())
            entries: dict[str, Any] = dict(stored.items())
        except (OSError, ValueError, AttributeError) as error:
            raise ModelError(f"{path / FILE} is no description: {error!r}; expected a JSON object") from error
        self.settings = {name: value for name, value in entries.items() if _is_setting(name)}
        self.types: dict[str, str] = {n: str(value) for n, value in entries.items() if not _is_setting(n)}

    def type_of(self, linear: str) -> str | None:
        """Return the type of a linear; None where the description does not have it."""
        return self.types.get(f"{linear}.weight")

    @property
    def quantizes_cache(self) -> bool:
        """Whether keys and values are quantized somewhere."""
        return any(".kv_cache_" in name for name in self.types)

    def defects(self, tensors: TensorFiles) -> Iterator[Defect]:
        """Find where the description contradicts the files or itself."""
        yield from self._unmatched(tensors)
        yield from self._unknown()
        yield from self._mistyped()

    def _unmatched(self, tensors: TensorFiles) -> Iterator[Defect]:
        for name in self.types.keys() - set(tensors.names):
            yield Defect(file=FILE, tensor=name, rule="the description names it, and no file has it")
        for name, entry in tensors.entries.items():
            if name not in self.types:
                yield Defect(file=entry.file, tensor=name, rule=f"{FILE} does not name this tensor")

    def require_supported(self, path: pathlib.Path) -> None:
        """Raise ModelError, naming it, for what msModelSlim writes and quantguard does not read; it is no damage."""
        found = [*self._other_types(), *self._older_layouts(), *self._other_settings()]
        if found:
            raise ModelError(
                f"{path / FILE}: {'; '.join(found)}. That is not supported, nor called damaged; supported are"
                f" {', '.join((FLOAT, CACHE, *TYPES))}, as msModelSlim 26.1 writes them in version {VERSION}"
            )

    def _other_types(self) -> Iterator[str]:
        by_kind: dict[str, list[str]] = {}
        for name, kind in self.types.items():
            beside = kind == BESIDE_FLATQUANT and name.rpartition(".")[2] in _BESIDE
            if kind not in (FLOAT, CACHE, *TYPES) and not beside:
                by_kind.setdefault(kind, []).append(name)
        for kind, names in sorted(by_kind.items()):
            yield f"{len(names)} tensors are of the type {kind!r}, such as {names[0]}"

    def _older_layouts(self) -> Iterator[str]:
        """Find W4A8 that is packed or scaled in another way, and norms with a bias, of msModelSlim's older writer."""
        packed = {name.removesuffix(".weight") for name, kind in self.types.items() if _is_weight(name, kind, PACKED)}
        second = sorted(name for name in packed if f"{name}.weight_scale_second" in self.types)
        plain = sorted(name for name in packed if f"{name}.scale_bias" not in self.types)
        if second:
            yield (
                f"{len(second)} linears of the type {PACKED} have a second scale for groups (weight_scale_second), such"
                f" as {second[0]}"
            )
        elif plain:
            yield (
                f"{len(plain)} linears of the type {PACKED} have no scale_bias, as msModelSlim's older writer leaves"
                f" them, such as {plain[0]}"
            )
        norms = sorted(name for name in self.types if name.endswith(("norm.bias", "norm.module.bias")))
        if norms:
            yield f"{len(norms)} norms have a bias that takes outliers away, such as {norms[0]}"

    def _other_settings(self) -> Iterator[str]:
        if self.settings.get("version", VERSION) != VERSION:
            yield f"version is {self.settings['version']!r}"
        for name in _OTHER_SETTINGS:
            if self.settings.get(name):
                yield f"{name} is {self.settings[name]!r}"
        cache = self.settings.get("kv_cache_type")
        if cache not in (None, "", CACHE):
            yield f"kv_cache_type is {cache!r}"

    def _unknown(self) -> Iterator[Defect]:
        cache = self.settings.get("kv_cache_type")
        if (cache == CACHE) != self.quantizes_cache:
            found = "there are" if self.quantizes_cache else "there are no"
            yield Defect(file=FILE, rule=f"kv_cache_type is {cache!r}, and {found} kv_cache_scale tensors")

    def _mistyped(self) -> Iterator[Defect]:
        for name, kind in self.types.items():
            owner, _, part = name.rpartition(".")
            own = self.type_of(owner) or FLOAT
            possible = {CACHE} if part.startswith("kv_cache_") else {own, FLOAT} if part == "bias" else {own}
            if own == FLATQUANT and part in _BESIDE:
                possible.add(BESIDE_FLATQUANT)
            if kind not in possible:
                expected = " or ".join(sorted(possible))
                yield Defect(file=FILE, tensor=name, rule=f"its type is {kind!r} and has to be {expected}")

    def mixed_groups(self, block: Block, *, transformed: bool) -> Iterator[Defect]:
        """Find linears of a block that are loaded as one and are not of one type.

        With ``transformed`` those whose common input one of them transforms: what the others get is not defined.
        """
        for group in block.groups.values():
            kinds = {name: self.type_of(name) for name in group.names}
            if len(set(kinds.values())) > 1 and (FLATQUANT in kinds.values()) == transformed:
                told = ", ".join(f"{name.rpartition('.')[2]} {kind}" for name, kind in kinds.items())
                first = next(name for name, kind in kinds.items() if kind != kinds[group.names[0]])
                rule = f"linears that are loaded as one have to be of one type: {told}"
                yield Defect(file=FILE, tensor=f"{first}.weight", rule=rule)

    def quantizes_anything(self) -> bool:
        """Tell whether there is a quantized tensor at all."""
        return any(kind != FLOAT for kind in self.types.values())


def _is_setting(name: str) -> bool:
    return name in (*_SETTINGS, *_OTHER_SETTINGS)


def _is_weight(name: str, kind: str, wanted: str) -> bool:
    return kind == wanted and name.endswith(".weight")


def folder_defects(path: pathlib.Path, dtype: torch.dtype | None) -> Iterator[Defect]:
    """Find what else in the folder would make a server load something else than the description says."""
    config = json.loads((path / "config.json").read_text())
    if "quantization_config" in config:
        yield Defect(file="config.json", rule=f"it has a quantization_config, which contradicts {FILE}")
    if dtype is None:
        yield Defect(file="config.json", rule="it names no dtype, which says how deq_scale is stored")
    for file in sorted(path.glob("model*.safetensors*")):
        yield Defect(file=file.name, rule="float weights are beside the quantized ones; servers read both")


def weight_index(path: pathlib.Path) -> str:
    """Return the name of the index over the weights, or what it would be called; both conventions of names are known.

    Raises ModelError where there are no weights, or those of two models.
    """
    indexes = sorted(file.name for file in path.glob("quant_model_weight*.safetensors.index.json"))
    files = sorted(file.name for file in path.glob("quant_model_weight*.safetensors"))
    found = indexes or [f"{file}.index.json" for file in files]
    if len(found) != 1:
        listed = ", ".join(indexes or files) or "none"
        raise ModelError(
            f"{path} has {FILE} and {len(found)} sets of weights ({listed}); expected one, as"
            " quant_model_weights*.safetensors or quant_model_weight_<type>*.safetensors"
        )
    return found[0]


def older_description(path: pathlib.Path) -> pathlib.Path | None:
    """Return the description that msModelSlim wrote before it had versions, with a type in its name; else None."""
    return min(path.glob("quant_model_description_*.json"), default=None)


def is_by_older_writer(index: str) -> bool:
    """Tell by the names of its files whether msModelSlim's older writer made a checkpoint."""
    return not index.startswith("quant_model_weights")
