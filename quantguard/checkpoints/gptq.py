"""GPTQ: 2, 3, 4 or 8 bits as AutoGPTQ and GPTQModel write them, with and without act-order.

A linear is ``qweight``, int32 ``[in_features * bits / 32, out_features]``, ``qzeros``, int32 ``[groups, out_features *
bits / 32]``, ``scales``, ``[groups, out_features]``, and ``g_idx``, int32 ``[in_features]``, the group of each input.
Integers and zero points are unsigned; the format ``gptq`` stores zero points less one, ``gptq_v2`` as they are.
"""

import dataclasses
import functools
import pathlib
import re
from typing import Any, Literal

import torch

from quantguard.checkpoints import _packed as packed
from quantguard.checkpoints._act_order import input_order, spread_groups
from quantguard.checkpoints._packed import PackedCheckpoint, PackedLinear, Settings
from quantguard.checkpoints._stored import POSITIVE, Spec, Values
from quantguard.errors import ModelError
from quantguard.modeling.block_state import Tensors
from quantguard.modeling.descriptions import HEAD
from quantguard.numerics import QuantTensor, bit_stream
from quantguard.records import QuantArgs, Recipe

DESCRIPTION = "2, 3, 4 or 8 bits of AutoGPTQ and GPTQModel, with and without act-order"

_BITS = (2, 3, 4, 8)
_MULTIPLE = 32
_FORMATS = (None, "gptq", "gptq_v2")
_MEANING = ("bits", "group_size", "sym", "desc_act")
_CHOOSING = ("dynamic", "modules_in_block_to_quantize")
# Settings that have one value here, or are absent.
_FIXED: dict[str, tuple[Any, ...]] = {
    "quant_method": (None, "gptq"),
    "method": (None, "gptq"),
    "checkpoint_format": _FORMATS,
    "format": _FORMATS,
    "pack_dtype": (None, "int32"),
    HEAD: (None, False),
    "is_marlin_format": (None, False),
    "adapter": (None,),
    "activation": (None,),
    "rotation": (None,),
    "mock_quantization": (None, False),
    **packed.AUTO_ROUND_FIXED,
}
# How it was made and what runs it elsewhere: the tensors mean the same.
_HOW = frozenset(
    [
        *packed.AUTO_ROUND,
        "act_group_aware",
        "backend",
        "cache_block_outputs",
        "damp_auto_increment",
        "damp_percent",
        "disable_exllama",
        "exllama_config",
        "foem",
        "hessian",
        "gptaq",
        "hyb_act",
        "max_input_length",
        "meta",
        "model_file_base_name",
        "model_name_or_path",
        "model_seqlen",
        "module_name_preceding_first_block",
        "mse",
        "pad_token_id",
        "static_groups",
        "tokenizer",
        "true_sequential",
        "use_cuda_fp16",
        "use_exllama",
    ]
)


def recognises(path: pathlib.Path) -> bool:
    """Tell whether config.json, or an old quantize_config.json, says GPTQ."""
    return packed.method_of(path) == "gptq"


def open_checkpoint(path: pathlib.Path) -> PackedCheckpoint:
    """Read the settings of a folder; raise ModelError for those that are not known."""
    settings = packed.read_settings(path)
    assert settings is not None
    settings.require_known((*_FIXED, *_MEANING, *_CHOOSING, *_HOW))
    found = settings.require_fixed(_FIXED)
    _require_choosing(settings)
    layout = _Layout(settings=settings, zero_offset=_zero_offset(settings, found))
    chosen = layout.chosen("")
    config, dtype, tensors = packed.open_folder(path, settings, stems=_stems(settings))
    options = {key: settings.values[key] for key in ("desc_act", *_CHOOSING) if settings.values.get(key)}
    name = f"gptq-w{chosen.args.num_bits}a16"
    return PackedCheckpoint(
        path=path,
        config=config,
        dtype=dtype,
        recipe=Recipe(name=name, rounding="gptq", weights=chosen.args, options={"gptq": options} if options else {}),
        tensors=tensors,
        notes=("inputs are permuted as the model runs: act-order spreads the scale groups over them",)
        if chosen.act_order
        else (),
        settings_file=settings.file.name,
        stale=tuple(packed.stale_settings(path, settings, (*_MEANING, "checkpoint_format"))),
        layout=layout,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """The settings of one linear; with ``act_order`` its groups may be spread over the inputs."""

    args: QuantArgs
    act_order: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The linears as the settings have them; a stored zero point is less by ``zero_offset``."""

    settings: Settings
    zero_offset: int

    def chosen(self, name: str) -> _Chosen:
        """Return the settings that hold for a linear unless it stayed float."""
        override = _override(self.settings, name) or {}
        values = {key: override.get(key, self.settings.values.get(key)) for key in _MEANING}
        settings = Settings(file=self.settings.file, values=values)
        symmetric = settings.require("sym", (False, True))
        args = packed.weight_args(settings, bits=_BITS, symmetric=symmetric)
        return _Chosen(args=args, act_order=settings.require("desc_act", (None, False, True)) is True)

    def args(self, name: str) -> QuantArgs | None:
        """Return the settings of a linear's weight; None where it stayed float."""
        parts = self.settings.values.get("modules_in_block_to_quantize")
        if parts and not any(name.endswith(f".{part}") for group in parts for part in group):
            return None
        return None if _override(self.settings, name) is False else self.chosen(name).args

    def specs(self, name: str, in_features: int, out_features: int) -> dict[str, Spec]:
        """Return what the tensors of a linear have to be."""
        if in_features % _MULTIPLE or out_features % _MULTIPLE:
            raise ModelError(
                f"{name} has {in_features} inputs and {out_features} outputs; GPTQ packs multiples of {_MULTIPLE}"
            )
        chosen = self.chosen(name)
        bits, size = chosen.args.num_bits, chosen.args.group_size or in_features
        groups = -(-in_features // size)
        packed_out = bit_stream.num_words(out_features, bits)
        grouping = spread_groups(in_features, size) if chosen.act_order else _groups_in_order(size)
        return {
            "qweight": Spec(dtypes=("I32",), shape=(bit_stream.num_words(in_features, bits), out_features), bulk=True),
            "qzeros": Spec(dtypes=("I32",), shape=(groups, packed_out), values=self._zero_rule(chosen, out_features)),
            "scales": Spec(dtypes=("F16", "BF16"), shape=(groups, out_features), values=POSITIVE),
            "g_idx": Spec(dtypes=("I32",), shape=(in_features,), values=grouping, optional=not chosen.act_order),
        }

    def _zero_rule(self, chosen: _Chosen, out_features: int) -> Values | None:
        bits = chosen.args.num_bits
        if chosen.args.symmetric:
            middle = 2 ** (bits - 1) - self.zero_offset
            expected = bit_stream.repeated(middle, bits, out_features)
            return Values(f"sym is true, so every stored zero point is {middle}", lambda found: found == expected)
        if not self.zero_offset:
            return None
        return Values(
            f"a zero point of 0 is stored as {2**bits - 1} in the format gptq, and programs read it differently: save"
            " the checkpoint as gptq_v2",
            lambda found: ~bit_stream.mark_words(bit_stream.unpack_unsigned(found, bits) == 2**bits - 1, bits),
        )

    def unpack(self, name: str, stored: Tensors) -> PackedLinear:
        """Make integers of ours of a linear's tensors, the columns of a scale group side by side."""
        args = self.chosen(name).args
        data = _signed(bit_stream.unpack_unsigned(stored["qweight"].t(), args.num_bits), args, 0)
        zero_point = None
        if not args.symmetric:
            zeros = bit_stream.unpack_unsigned(stored["qzeros"], args.num_bits).t()
            zero_point = _signed(zeros, args, self.zero_offset).to(torch.int32).contiguous()
        order = input_order(stored.get("g_idx"))
        weight = QuantTensor(
            data=data if order is None else data[:, order],
            scale=stored["scales"].t().float().contiguous(),
            zero_point=zero_point,
            args=args,
        )
        return PackedLinear(weight=weight, input_permutation=order)


def _stems(settings: Settings) -> tuple[str, ...]:
    """Return what AutoGPTQ calls its files: by a setting, or by bits and size of groups."""
    named = settings.values.get("model_file_base_name")
    if named is not None and (not isinstance(named, str) or pathlib.PurePath(named).name != named):
        raise ModelError(f"{settings.file}: model_file_base_name is {named!r}; possible: the name of a file here")
    by_settings = f"gptq_model-{settings.values['bits']}bit-{settings.values['group_size']}g"
    return (*([named] if named else []), by_settings)


def _signed(values: torch.Tensor, args: QuantArgs, offset: int) -> torch.Tensor:
    return (values.to(torch.int16) + (args.minimum + offset)).to(torch.int8)


def _groups_in_order(size: int) -> Values:
    return Values(
        f"desc_act is false, so group i holds {size} inputs from {size} * i on",
        lambda found: found == torch.arange(len(found)) // size,
    )


def _zero_offset(settings: Settings, found: dict[str, Any]) -> int:
    """Return by how much stored zero points are too small, from the two names of the format."""
    named = {found[key] for key in ("checkpoint_format", "format")} - {None}
    if len(named) > 1:
        raise ModelError(f"{settings.file}: checkpoint_format and format differ: {' and '.join(sorted(named))}")
    return 0 if named == {"gptq_v2"} else 1


def _require_choosing(settings: Settings) -> None:
    """Raise ModelError where the settings that choose linears are not of the form that they have."""
    dynamic, parts = (settings.values.get(key) for key in _CHOOSING)
    if dynamic is not None and not (isinstance(dynamic, dict) and all(isinstance(v, dict) for v in dynamic.values())):
        raise ModelError(f"{settings.file}: dynamic is {dynamic!r}; possible: patterns, each with a table of settings")
    if parts is not None and not (isinstance(parts, list) and all(isinstance(group, list) for group in parts)):
        raise ModelError(f"{settings.file}: modules_in_block_to_quantize is {parts!r}; possible: lists of names")


@functools.lru_cache(maxsize=1024)
def _pattern(settings: pathlib.Path, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ModelError(f"{settings}: the pattern {pattern!r} of dynamic cannot be read: {error}") from error


def _override(settings: Settings, name: str) -> dict[str, Any] | Literal[False] | None:
    """Return what the first pattern of ``dynamic`` that matches a linear says of it: False for float, None for none."""
    for key, values in (settings.values.get("dynamic") or {}).items():
        if _pattern(settings.file, key.removeprefix("-:").removeprefix("+:")).match(name):
            if key.startswith("-:"):
                return False
            if unknown := sorted(values.keys() - {*_MEANING, *_HOW}):
                raise ModelError(f"{settings.file}: dynamic sets {unknown[0]!r}; possible: {', '.join(_MEANING)}")
            return dict(values)
    return None
