"""What the formats of GPTQ and AWQ have in common: packed linears beside float ones, and how settings are read."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch

from quantguard.checkpoints._stored import FLOATS, Spec, Values, float_end_specs, float_specs, fused_defects
from quantguard.errors import ModelError
from quantguard.modeling import Block, Decoder
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.modeling.configuration import quantization_settings, read_config
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.numerics import QuantTensor, pack_int4
from quantguard.records import Defect, LayerArgs, LayerReport, QuantArgs, Recipe

CONFIG, OLD_CONFIG = "config.json", "quantize_config.json"
_ZERO = Values("the model has no bias here, so a stored one is 0", lambda bias: bias == 0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PackedLinear:
    """A linear as integers of ours; ``input_permutation`` is that of :class:`quantguard.modeling.QuantLinear`."""

    weight: QuantTensor
    input_permutation: torch.Tensor | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a file says of the quantization, as its tool wrote it."""

    file: pathlib.Path
    values: dict[str, Any]

    def require_known(self, keys: Iterable[str]) -> None:
        """Raise ModelError for a setting whose meaning is not known."""
        if unknown := sorted(self.values.keys() - set(keys)):
            raise ModelError(
                f"{self.file} has the setting {unknown[0]!r} = {self.values[unknown[0]]!r}, which quantguard does not"
                " know: what the tensors mean may depend on it. Remove it if it says nothing of them"
            )

    def require(self, key: str, possible: tuple[Any, ...]) -> Any:
        """Return a setting, None where it is absent; raise ModelError where it is none of those that are possible."""
        found = self.values.get(key)
        if any(found == value and type(found) is type(value) for value in possible):
            return found
        told = ", ".join(json.dumps(value) for value in possible if value is not None)
        raise ModelError(f"{self.file}: {key} is {json.dumps(found)}; possible: {told}")


def read_settings(path: pathlib.Path) -> Settings | None:
    """Return what config.json says of a quantization, or quantize_config.json where it says nothing; else None.

    Raises ModelError for a file that cannot be read.
    """
    stored = quantization_settings(path)
    if stored is not None:
        return Settings(file=path / CONFIG, values=stored)
    if not (path / OLD_CONFIG).is_file():
        return None
    return Settings(file=path / OLD_CONFIG, values=_read_object(path / OLD_CONFIG))


def method_of(path: pathlib.Path) -> str | None:
    """Return the method that a folder's settings name; a file quantize_config.json that names none is of GPTQ."""
    settings = read_settings(path)
    if settings is None:
        return None
    named = settings.values.get("quant_method")
    return "gptq" if named is None and settings.file.name == OLD_CONFIG else named


def weight_args(settings: Settings, *, bits: tuple[int, ...], symmetric: bool) -> QuantArgs:
    """Return the settings of weights from ``bits`` and ``group_size``, -1 for a scale per output channel.

    Raises ModelError for others than can be.
    """
    found, size = (settings.values.get(key) for key in ("bits", "group_size"))
    if type(found) is not int or found not in bits:
        raise ModelError(f"{settings.file}: bits is {found!r}; possible: {', '.join(map(str, bits))}")
    if type(size) is not int or (size < 1 and size != -1):
        raise ModelError(
            f"{settings.file}: group_size is {size!r}; possible: a number of inputs, or -1 for all of them"
        )
    if size == -1:
        return QuantArgs(num_bits=found, symmetric=symmetric, strategy="channel")
    return QuantArgs(num_bits=found, symmetric=symmetric, strategy="group", group_size=size)


def stale_settings(path: pathlib.Path, settings: Settings, keys: tuple[str, ...]) -> Iterator[Defect]:
    """Find settings in which quantize_config.json is not what config.json says."""
    other = path / OLD_CONFIG
    if settings.file == other or not other.is_file():
        return
    values = _read_object(other)
    for key in keys:
        if key in values and key in settings.values and values[key] != settings.values[key]:
            rule = f"{key} is {json.dumps(values[key])} here and {json.dumps(settings.values[key])} in {CONFIG}"
            yield Defect(file=OLD_CONFIG, rule=rule)


class Layout(Protocol):
    """How a format packs a linear, which is given by its full name."""

    def args(self, name: str) -> QuantArgs | None:
        """Return the settings of its weight; None where it stayed float."""

    def specs(self, name: str, in_features: int, out_features: int) -> dict[str, Spec]:
        """Return what its tensors have to be, by their last names."""

    def unpack(self, name: str, stored: Tensors) -> PackedLinear:
        """Make one of ours of its tensors."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PackedCheckpoint:
    """A checkpoint whose linears are packed, each by itself."""

    path: pathlib.Path
    config: Any
    dtype: torch.dtype
    recipe: Recipe
    tensors: TensorFiles
    notes: tuple[str, ...]
    settings_file: str
    stale: tuple[Defect, ...]
    layout: Layout

    def defects(self) -> Iterator[Defect]:
        """Find stale settings, and what cannot be fused."""
        yield from self.stale

        def args_of(name: str) -> LayerArgs | None:
            weights = self.layout.args(name)
            return None if weights is None else LayerArgs(weights=weights, input_activations=None)

        yield from fused_defects(self.config.num_hidden_layers, args_of, file=self.settings_file)

    def end_specs(self, decoder: Decoder) -> dict[str, Spec]:
        """Return what embedding, final norm and head have to be: floats."""
        return float_end_specs(decoder)

    def block_specs(self, block: Block) -> dict[str, Spec]:
        """Return what packed and float linears of a block have to be."""
        packed = self._packed(block)
        specs = float_specs(block, packed)
        for name in packed:
            linear = block.linears[name]
            own = self.layout.specs(name, linear.in_features, linear.out_features)
            specs |= {f"{name}.{part}": spec for part, spec in own.items()}
            if linear.bias is None:
                shape = (linear.out_features,)
                specs[f"{name}.bias"] = Spec(dtypes=FLOATS, shape=shape, values=_ZERO, optional=True)
        return specs

    def decode(self, block: Block, stored: Tensors) -> tuple[BlockState, Tensors]:
        """Unpack the linears of a block; what is float stays as it is."""
        packed, found = self._packed(block), dict(stored)
        for name in packed:
            names = [key for key in found if key.startswith(f"{name}.")]
            own = {key.removeprefix(f"{name}."): found.pop(key) for key in names}
            found |= {f"{name}.{key}": tensor for key, tensor in _ours(self.layout.unpack(name, own)).items()}
            if block.linears[name].bias is not None:
                found[f"{name}.bias"] = own["bias"]
        linears = {name: LayerArgs(weights=args, input_activations=None) for name, args in packed.items()}
        return BlockState(linears=linears, kv_cache=None, report=LayerReport(name=block.name)), found

    def _packed(self, block: Block) -> dict[str, QuantArgs]:
        found = {name: self.layout.args(name) for name in block.linears}
        return {name: args for name, args in found.items() if args is not None}


def open_folder(path: pathlib.Path) -> tuple[Any, torch.dtype, TensorFiles]:
    """Return the configuration of the float model, its type and the tensors of a folder."""
    config = read_config(path)
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config
    stored = getattr(config, "dtype", None)
    return config, stored if isinstance(stored, torch.dtype) else torch.float16, TensorFiles(path)


def _ours(linear: PackedLinear) -> Tensors:
    weight = linear.weight
    data = pack_int4(weight.data) if weight.args.num_bits <= 4 else weight.data
    tensors = {"weight_data": data, "weight_scale": weight.scale}
    if weight.zero_point is not None:
        tensors["weight_zero_point"] = weight.zero_point
    if linear.input_permutation is not None:
        tensors["input_permutation"] = linear.input_permutation
    return tensors


def _read_object(file: pathlib.Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{file} is no JSON object: what it says of the quantization cannot be read")
    return values
