"""AWQ: 4 bits in the layout ``gemm``, as AutoAWQ and GPTQModel write it.

A linear is ``qweight``, int32 ``[in_features, out_features / 8]``, ``qzeros``, int32 ``[groups, out_features / 8]``,
and ``scales``, ``[groups, out_features]``. Integers and zero points are unsigned; a word holds those of eight outputs,
the lowest four bits first: 0, 2, 4, 6, 1, 3, 5 and 7.
"""

import dataclasses
import pathlib
from typing import Any

import torch

from quantguard.checkpoints import _packed as packed
from quantguard.checkpoints._packed import PackedCheckpoint, PackedLinear, Settings
from quantguard.checkpoints._stored import POSITIVE, Spec, Values
from quantguard.errors import ModelError
from quantguard.modeling.block_state import Tensors
from quantguard.modeling.descriptions import HEAD
from quantguard.numerics import QuantTensor, bit_stream
from quantguard.records import QuantArgs, Recipe

DESCRIPTION = "4 bits of AutoAWQ and GPTQModel, layout gemm"

_BITS = 4
_IN_A_WORD = 8
# Where in a word the integer of each of its eight outputs is.
_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)
_MIDDLE = Values(
    "zero_point is false, so every stored zero point is 8", lambda found: found == bit_stream.repeated(8, _BITS, 32)[0]
)
_MEANING = ("bits", "group_size", "zero_point", "version", "sym")
_HOW = frozenset(
    [
        *packed.AUTO_ROUND,
        "backend",
        "do_fuse",
        "exllama_config",
        "fuse_max_seq_len",
        "meta",
        "modules_to_fuse",
        "modules_to_not_convert",
        "quant_method",
    ]
)
# Settings that have one value here, or are absent.
_FIXED: dict[str, tuple[Any, ...]] = {
    "zero_point": (True, False),
    "method": (None, "awq"),
    "checkpoint_format": (None, "gemm"),
    "format": (None, "gemm"),
    "pack_dtype": (None, "int32"),
    "desc_act": (None, False),
    HEAD: (None, False),
    "dynamic": (None,),
    "adapter": (None,),
    "activation": (None,),
    "rotation": (None,),
    **packed.AUTO_ROUND_FIXED,
}


def recognises(path: pathlib.Path) -> bool:
    """Tell whether config.json, or an old quantize_config.json, says AWQ."""
    return packed.method_of(path) == "awq"


def open_checkpoint(path: pathlib.Path) -> PackedCheckpoint:
    """Read the settings of a folder; raise ModelError for those that are not known."""
    settings = packed.read_settings(path)
    assert settings is not None
    settings.require_known((*_FIXED, *_MEANING, *_HOW))
    _require_gemm(settings)
    settings.require_fixed(_FIXED)
    settings.require("sym", (None, not settings.values["zero_point"]))
    layout = _Layout(
        weights=packed.weight_args(settings, bits=(_BITS,), symmetric=not settings.values["zero_point"]),
        float_parts=_float_parts(settings),
    )
    config, dtype, tensors = packed.open_folder(path, settings)
    recipe = Recipe(
        name=f"auto-awq-w{_BITS}a16",
        transforms=("awq",),
        weights=layout.weights,
        ignore=(HEAD, *(f"*{part}*" for part in layout.float_parts if part != HEAD)),
    )
    return PackedCheckpoint(
        path=path,
        config=config,
        dtype=dtype,
        recipe=recipe,
        tensors=tensors,
        notes=(),
        settings_file=settings.file.name,
        stale=tuple(packed.stale_settings(path, settings, _MEANING)),
        layout=layout,
    )


def _float_parts(settings: Settings) -> tuple[str, ...]:
    parts = settings.values.get("modules_to_not_convert") or []
    if not isinstance(parts, list) or not all(isinstance(part, str) and part for part in parts):
        raise ModelError(f"{settings.file}: modules_to_not_convert is {parts!r}; possible: a list of parts of names")
    return tuple(parts)


def _require_gemm(settings: Settings) -> None:
    """Raise ModelError for the layouts of other kernels, which AutoAWQ names in capitals too."""
    version = settings.values.get("version", settings.values.get("format"))
    if not isinstance(version, str) or version.lower() != "gemm":
        raise ModelError(
            f"{settings.file}: version is {version!r}; gemm can be imported, the layouts gemv, gemv_fast, marlin and"
            " llm-awq cannot. Quantize the model with version = 'gemm'"
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The linears of one setting; those whose name has one of ``float_parts`` in it stayed float."""

    weights: QuantArgs
    float_parts: tuple[str, ...]

    def args(self, name: str) -> QuantArgs | None:
        """Return the settings of a linear's weight; None where it stayed float."""
        return None if any(part in name for part in self.float_parts) else self.weights

    def specs(self, name: str, in_features: int, out_features: int) -> dict[str, Spec]:
        """Return what the tensors of a linear have to be; every pattern of bits is an integer."""
        if out_features % _IN_A_WORD:
            raise ModelError(f"{name} has {out_features} outputs; AWQ packs multiples of {_IN_A_WORD}")
        groups, packed_out = -(-in_features // (self.weights.group_size or in_features)), out_features // _IN_A_WORD
        return {
            "qweight": Spec(dtypes=("I32",), shape=(in_features, packed_out), bulk=True),
            "qzeros": Spec(
                dtypes=("I32",), shape=(groups, packed_out), values=_MIDDLE if self.weights.symmetric else None
            ),
            "scales": Spec(dtypes=("F16", "BF16"), shape=(groups, out_features), values=POSITIVE),
        }

    def unpack(self, _name: str, stored: Tensors) -> PackedLinear:
        """Make integers of ours of a linear's tensors."""
        weight = QuantTensor(
            data=_unpack(stored["qweight"]),
            scale=stored["scales"].t().float().contiguous(),
            zero_point=None if self.weights.symmetric else _unpack(stored["qzeros"]).to(torch.int32),
            args=self.weights,
        )
        return PackedLinear(weight=weight)


def _unpack(stored: torch.Tensor) -> torch.Tensor:
    """Return signed integers with outputs first: int32 ``[rows, out / 8]`` to int8 ``[out, rows]``."""
    in_words = bit_stream.unpack_unsigned(stored, _BITS).unflatten(1, (-1, _IN_A_WORD))
    signed: torch.Tensor = in_words[..., _PLACES].flatten(1).t().to(torch.int8) - 2 ** (_BITS - 1)
    return signed.contiguous()
