"""What the formats of GPTQ and AWQ have in common: packed linears beside float ones, and how settings are read."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch

from quantguard.checkpoints._stored import FLOATS, Spec, Values, float_end_specs, float_specs, fused_apart
from quantguard.errors import ModelError
from quantguard.modeling import Block, Decoder, find_decoder
from quantguard.modeling.block_state import BlockState, Tensors
from quantguard.modeling.configuration import CONFIG, quantization_settings, read_config
from quantguard.modeling.stored_parameters import find_index
from quantguard.modeling.streaming import skeleton
from quantguard.modeling.tensor_files import TensorFiles
from quantguard.numerics import QuantTensor, pack_int4
from quantguard.records import Defect, LayerArgs, LayerReport, QuantArgs, Recipe

# What older tools wrote beside config.json: GPTQ's, and AutoAWQ's with names of its own.
OLD_CONFIG, OLD_AWQ_CONFIG = "quantize_config.json", "quant_config.json"
_AWQ_NAMES = {"w_bit": "bits", "q_group_size": "group_size"}
# What auto-round says of how it tuned: the tensors mean the same.
AUTO_ROUND = frozenset(
    [
        "act_data_type",
        "act_dynamic",
        "act_group_size",
        "act_sym",
        "amp",
        "autoround_version",
        "batch_size",
        "block_name_to_quantize",
        "dataset",
        "enable_alg_ext",
        "enable_minmax_tuning",
        "enable_norm_bias_tuning",
        "enable_quanted_input",
        "gradient_accumulate_steps",
        "iters",
        "low_gpu_mem_usage",
        "lr",
        "minmax_lr",
        "nsamples",
        "provider",
        "quant_block_list",
        "quant_nontext_module",
        "scale_dtype",
        "seqlen",
        "static_attention_granularity",
        "static_kv_granularity",
        "supported_types",
        "to_quant_block_names",
        "train_bs",
    ]
)
# And what would make them mean something else, with the values at which it does not.
AUTO_ROUND_FIXED: dict[str, tuple[Any, ...]] = {
    "act_bits": (None, 16, 32),
    "data_type": (None, "int", "int_sym", "int_asym", "rtn_int_sym", "opt_rtn_int_sym", "opt_rtn_int_asym"),
    "regex_config": (None, {}),
    "rotation_config": (None, {}),
    "rotation_configs": (None, []),
    "static_attention_dtype": (None,),
    "static_kv_dtype": (None,),
    "super_bits": (None,),
    "super_group_size": (None,),
}
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
        """Raise ModelError for settings whose meaning is not known, all of them."""
        if unknown := sorted(self.values.keys() - set(keys)):
            told = ", ".join(f"{key} = {json.dumps(self.values[key])}" for key in unknown)
            raise ModelError(
                f"{self.file} has settings that quantguard does not know: {told}. What the tensors mean may depend on"
                " them; remove those that say nothing of them"
            )

    def require_fixed(self, fixed: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
        """Return the settings that have one of a few values; raise ModelError where one has not."""
        return {key: self.require(key, possible) for key, possible in fixed.items()}

    def require(self, key: str, possible: tuple[Any, ...]) -> Any:
        """Return a setting, None where it is absent; raise ModelError where it is none of those that are possible."""
        found = self.values.get(key)
        if any(found == value and type(found) is type(value) for value in possible):
            return found
        told = ", ".join(json.dumps(value) for value in possible if value is not None)
        raise ModelError(f"{self.file}: {key} is {json.dumps(found)}; possible: {told}")


def read_settings(path: pathlib.Path) -> Settings | None:
    """Return what config.json says of a quantization, or the file of an older tool where it says nothing; else None.

    Raises ModelError for a file that cannot be read.
    """
    stored = quantization_settings(path)
    if stored is not None:
        return Settings(file=path / CONFIG, values=stored)
    if (path / OLD_CONFIG).is_file():
        return Settings(file=path / OLD_CONFIG, values=_read_object(path / OLD_CONFIG))
    if (path / OLD_AWQ_CONFIG).is_file():
        values = _read_object(path / OLD_AWQ_CONFIG)
        named = {_AWQ_NAMES.get(key, key): value for key, value in values.items()}
        return Settings(file=path / OLD_AWQ_CONFIG, values=named)
    return None


def method_of(path: pathlib.Path) -> str | None:
    """Return the method that a folder's settings name; older files that name none are of GPTQ or of AWQ."""
    settings = read_settings(path)
    if settings is None:
        return None
    named = settings.values.get("quant_method")
    return {OLD_CONFIG: "gptq", OLD_AWQ_CONFIG: "awq"}.get(settings.file.name) if named is None else named


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
    """Find settings in which the file of an older tool is not what the one that is read says."""
    for other in (path / OLD_CONFIG, path / OLD_AWQ_CONFIG):
        if settings.file == other or not other.is_file():
            continue
        values = {_AWQ_NAMES.get(key, key): value for key, value in _read_object(other).items()}
        for key in keys:
            found, expected = values.get(key), settings.values.get(key)
            if key in values and key in settings.values and _plain(found) != _plain(expected):
                rule = f"{key} is {json.dumps(found)} here and {json.dumps(expected)} in {settings.file.name}"
                yield Defect(file=other.name, rule=rule)


def _plain(value: Any) -> Any:
    """Take names in capitals for the same: AutoAWQ writes GEMM in one file and gemm in the other."""
    return value.lower() if isinstance(value, str) else value


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
        """Find stale settings."""
        yield from self.stale

    def warnings(self) -> Iterator[Defect]:
        """Find linears that programs that serve put into one matrix, and that have different settings."""

        def args_of(name: str) -> LayerArgs | None:
            weights = self.layout.args(name)
            return None if weights is None else LayerArgs(weights=weights, input_activations=None)

        yield from fused_apart(find_decoder(skeleton(self.config, self.dtype)).blocks, args_of, file=self.settings_file)

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


def open_folder(
    path: pathlib.Path, settings: Settings, *, stems: Iterable[str] = ()
) -> tuple[Any, torch.dtype, TensorFiles]:
    """Return the configuration of the float model, its type and the tensors of a folder.

    ``stems`` are what the names of files may begin with besides ``model``. Raises ModelError where there are no
    weights, or those of two names, or none of them is packed.
    """
    config = read_config(path)
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config
    stored = getattr(config, "dtype", None)
    tensors = TensorFiles(path, index=find_index(path, stems=stems))
    if tensors.entries and not any(name.endswith(".qweight") for name in tensors.entries):
        raise ModelError(
            f"{settings.file} says that the model is quantized, and none of its tensors is packed (qweight): is that"
            " left from another model? Remove it, and the model is read in full precision"
        )
    return config, stored if isinstance(stored, torch.dtype) else torch.float16, tensors


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
