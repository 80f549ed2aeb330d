"""The ``quantization_config`` of compressed-tensors: read into ours, refusing by name what is not, and written."""

import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from quantguard.errors import ModelError, RecipeError
from quantguard.records import LayerArgs, QuantArgs

METHOD = "compressed-tensors"
# Its 3-bit values cross the words that they are packed into, which older ones' do not.
VERSION = "0.19.0"
_INT, _PACKED = "int-quantized", "pack-quantized"
_FORMATS = (_INT, _PACKED, "naive-quantized")
_WEIGHT_STRATEGIES = ("channel", "group", "tensor")
# What compressed-tensors 0.8 to 0.20, llm-compressor, transformers and auto-round write.
_KNOWN = (
    "config_groups",
    "format",
    "global_compression_ratio",
    "ignore",
    "kv_cache_scheme",
    "moe_sparsity_config",
    "provider",
    "quant_method",
    "quantization_status",
    "run_compressed",
    "sparsity_config",
    "transform_config",
    "version",
)
_KNOWN_OF_GROUP = ("format", "input_activations", "output_activations", "targets", "weights")
_KNOWN_OF_ARGS = (
    "actorder",
    "block_structure",
    "dynamic",
    "group_size",
    "num_bits",
    "observer",
    "observer_kwargs",
    "scale_dtype",
    "strategy",
    "symmetric",
    "type",
    "zp_dtype",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearScheme:
    """How a linear is stored: its settings, whether its weight is a bit stream, and what is there beside it.

    A weight with one scale, ``per_tensor``, is to us one of channels whose scales are equal. ``act_order`` weights say
    which group each input belongs to.
    """

    args: LayerArgs
    packed: bool
    per_tensor: bool = False
    act_order: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """What a configuration says: a scheme for each list of targets, what stays float, and the KV cache's settings."""

    groups: tuple[tuple[tuple[str, ...], LinearScheme], ...]
    ignore: tuple[str, ...]
    kv_cache: QuantArgs | None
    kv_per_head: bool = False

    def of_linear(self, name: str) -> LinearScheme | None:
        """Return the scheme of a linear by its full name; None where it stays float.

        A target is a name, ``re:`` with a pattern, or the class ``Linear``, in this order of weight. Raises ModelError
        where targets of one weight disagree.
        """
        if _weight(name, self.ignore):
            return None
        weights = [(_weight(name, targets), scheme) for targets, scheme in self.groups]
        heaviest = max((weight for weight, _ in weights), default=0)
        found = {scheme for weight, scheme in weights if weight == heaviest}
        if heaviest and len(found) > 1:
            raise ModelError(f"two config_groups of the quantization_config fit {name}, with different settings")
        return found.pop() if heaviest else None


def _weight(name: str, targets: Iterable[str]) -> int:
    weights = [0]
    for target in targets:
        if target == name:
            weights.append(3)
        elif target.startswith("re:") and re.match(target.removeprefix("re:"), name):
            weights.append(2)
        elif target == "Linear":
            weights.append(1)
    return max(weights)


def parse(config: Mapping[str, Any], where: str) -> Scheme:
    """Read a ``quantization_config``; ``where`` is the file that an error names.

    Raises ModelError for what is damaged and for what quantguard does not run, such as floating-point weights.
    """
    try:
        return _parse(config)
    except (RecipeError, KeyError, TypeError, AttributeError, re.error) as error:
        told = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"{where}: quantization_config: {told}") from error


def _parse(config: Mapping[str, Any]) -> Scheme:
    _require_known("quantization_config", config, _KNOWN)
    if config.get("quantization_status", "compressed") != "compressed":
        raise RecipeError(f"quantization_status is {config['quantization_status']!r}; 'compressed' can be read")
    for key in ("sparsity_config", "transform_config", "moe_sparsity_config"):
        if config.get(key) and config[key] != {"format": "dense"}:
            raise RecipeError(f"{key} is not empty: what it describes is not built, and left out it would be wrong")
    groups = tuple(
        (_targets(key, group), _linear_scheme(key, group, config.get("format")))
        for key, group in config["config_groups"].items()
    )
    if not groups:
        raise RecipeError("config_groups is empty: nothing is quantized")
    cache = config.get("kv_cache_scheme")
    return Scheme(
        groups=groups,
        ignore=_names(config.get("ignore") or (), "ignore"),
        kv_cache=None if cache is None else _cache_args(cache),
        kv_per_head=cache is not None and cache.get("strategy") == "attn_head",
    )


def _require_known(key: str, found: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise RecipeError for settings whose meaning is not known, all of them."""
    if unknown := sorted(found.keys() - set(known)):
        told = ", ".join(f"{name} = {json.dumps(found[name])}" for name in unknown)
        raise RecipeError(
            f"{key} has settings that quantguard does not know: {told}; what the tensors mean may depend on them"
        )


def _targets(key: str, group: Any) -> tuple[str, ...]:
    return _names(group["targets"], f"{key}.targets") if isinstance(group, Mapping) else ()


def _names(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise RecipeError(f"{key} is {value!r}; a list of names is expected")
    return tuple(value)


def _linear_scheme(key: str, group: Mapping[str, Any], whole: Any) -> LinearScheme:
    if not isinstance(group, Mapping):
        raise RecipeError(f"{key} is the name of a preset for {group!r}; write its settings out as a table")
    _require_known(key, group, _KNOWN_OF_GROUP)
    form = group.get("format") or whole
    if form not in _FORMATS:
        raise RecipeError(f"{key} has the format {form!r}; possible: {', '.join(_FORMATS)}")
    if group.get("output_activations") is not None:
        raise RecipeError(f"{key} quantizes output_activations, which is not built")
    weights = group["weights"]
    if weights["strategy"] not in _WEIGHT_STRATEGIES or weights.get("dynamic"):
        raise RecipeError(
            f"{key}.weights has the strategy {weights['strategy']!r}; possible: {', '.join(_WEIGHT_STRATEGIES)}, not"
            " dynamic"
        )
    per_tensor = weights["strategy"] == "tensor"
    args = _args(f"{key}.weights", {**weights, "strategy": "channel"} if per_tensor else weights)
    activations = group.get("input_activations")
    inputs = None if activations is None else _args(f"{key}.input_activations", activations)
    if inputs is not None and (inputs.strategy not in ("token", "tensor") or (inputs.dynamic and not inputs.symmetric)):
        raise RecipeError(
            f"{key}.input_activations has the strategy {inputs.strategy!r}, symmetric = {inputs.symmetric}; possible:"
            " token (dynamic), symmetric, and tensor (static)"
        )
    return LinearScheme(
        args=LayerArgs(weights=args, input_activations=inputs),
        packed=form == _PACKED,
        per_tensor=per_tensor,
        act_order=weights.get("actorder") in ("group", "dynamic"),
    )


def _args(key: str, stored: Mapping[str, Any]) -> QuantArgs:
    _require_known(key, stored, _KNOWN_OF_ARGS)
    if stored.get("type", "int") != "int":
        raise RecipeError(f"{key} has the type {stored['type']!r}; quantguard runs integers, type 'int'")
    try:
        return QuantArgs(
            num_bits=stored["num_bits"],
            symmetric=stored["symmetric"],
            strategy=stored["strategy"],
            group_size=stored.get("group_size") if stored["strategy"] == "group" else None,
            dynamic=bool(stored.get("dynamic")),
        )
    except RecipeError as error:
        raise RecipeError(f"{key}: {error}") from error


def _cache_args(stored: Mapping[str, Any]) -> QuantArgs:
    """Read the settings of keys and values: one scale, or one a head, is to us one a channel with equal scales."""
    if stored.get("strategy") not in ("tensor", "attn_head") or stored.get("dynamic"):
        raise RecipeError(
            f"kv_cache_scheme has the strategy {stored.get('strategy')!r}, dynamic = {stored.get('dynamic')!r};"
            " possible: tensor and attn_head, not dynamic"
        )
    return _args("kv_cache_scheme", {**stored, "strategy": "channel"})


def render(linears: Mapping[str, LayerArgs], floats: Iterable[str]) -> dict[str, Any]:
    """Return the ``quantization_config`` of a model by the settings of its linears; ``floats`` are left out of it.

    The settings that most linears have are for the class ``Linear``, others for linears by name.
    """
    by_args: dict[LayerArgs, list[str]] = {}
    for name, args in linears.items():
        by_args.setdefault(_without_clips(args), []).append(name)
    ordered = sorted(by_args.items(), key=lambda entry: -len(entry[1]))
    groups = {
        f"group_{index}": {
            "format": stored_as(args),
            "targets": names if index else ["Linear"],
            "weights": _rendered(args.weights),
            "input_activations": None if args.input_activations is None else _rendered(args.input_activations),
            "output_activations": None,
        }
        for index, (args, names) in enumerate(ordered)
    }
    forms = {group["format"] for group in groups.values()}
    return {
        "quant_method": METHOD,
        "version": VERSION,
        "format": forms.pop() if len(forms) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "global_compression_ratio": None,
        "ignore": sorted(floats),
        "kv_cache_scheme": None,
        "config_groups": groups,
    }


def stored_as(args: LayerArgs) -> str:
    """Return the format that a linear is stored in, which compressed-tensors infers from its settings."""
    return _PACKED if args.input_activations is None else _INT


def _without_clips(args: LayerArgs) -> LayerArgs:
    """Leave out the share of the extremes: what is stored is what came of it."""
    inputs = args.input_activations
    return LayerArgs(
        weights=dataclasses.replace(args.weights, clip_ratio=1.0),
        input_activations=None if inputs is None else dataclasses.replace(inputs, clip_ratio=1.0),
    )


def _rendered(args: QuantArgs) -> dict[str, Any]:
    return {
        "num_bits": args.num_bits,
        "type": args.type,
        "symmetric": args.symmetric,
        "strategy": args.strategy,
        "group_size": args.group_size,
        "dynamic": args.dynamic,
    }
