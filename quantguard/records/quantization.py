"""What to quantize, to how many bits and by which method."""

import dataclasses
import fnmatch
from typing import Any, Literal

from quantguard.errors import RecipeError
from quantguard.records.codec import digest

Strategy = Literal["tensor", "channel", "group", "token"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QuantArgs:
    """How one kind of tensor is quantized, in the vocabulary of compressed-tensors.

    ``strategy`` says what shares a scale: the whole ``tensor``, an output ``channel``, a ``group`` of
    ``group_size`` consecutive inputs of a channel, or a ``token`` (of the KV cache: a token and head). ``dynamic``
    scales are computed as the model runs, others when it is quantized. ``clip_ratio`` is the share of the extremes
    that the range covers. The type ``e8p`` is QuIP#'s code book for weights, at 2, 3 or 4 bits, which no kernel runs
    on: layers multiply with the floats that the codes stand for.
    """

    num_bits: int
    type: Literal["int", "e8p"] = "int"
    symmetric: bool = True
    strategy: Strategy
    group_size: int | None = None
    dynamic: bool = False
    clip_ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.type == "e8p" and (self.num_bits not in (2, 3, 4) or self.strategy != "channel"):
            raise RecipeError(
                f"type e8p with {self.num_bits} bits, strategy {self.strategy!r}; it has 2, 3 or 4 bits and takes no"
                ' groups: write strategy = "channel"'
            )
        if not 0 < self.clip_ratio <= 1:
            raise RecipeError(f"clip_ratio is {self.clip_ratio}; a share above 0, at most 1")
        if not 2 <= self.num_bits <= 8:
            raise RecipeError(f"num_bits is {self.num_bits}; possible are 2 to 8")
        if (self.strategy == "group") != (self.group_size is not None):
            raise RecipeError(
                f"strategy {self.strategy!r} with group_size {self.group_size}: a group size goes with"
                ' strategy = "group" and only with it'
            )
        if self.group_size is not None and self.group_size < 1:
            raise RecipeError(f"group_size is {self.group_size}; it counts inputs and must be at least 1")
        if self.dynamic != (self.strategy == "token"):
            raise RecipeError('dynamic scales are per token: write strategy = "token" and dynamic = true together')

    @property
    def minimum(self) -> int:
        """The smallest stored integer, ``-2^(b-1)``."""
        return int(-(2 ** (self.num_bits - 1)))

    @property
    def maximum(self) -> int:
        """The largest stored integer, ``2^(b-1) - 1``."""
        return int(2 ** (self.num_bits - 1) - 1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RotationArgs:
    """The sizes of a rotation, by which a backend says whether it can do it.

    Attributes:
        width: how many numbers a row has.
        left: the side of the left factor; None for the identity.
        right: the side of the right factor; None for the identity.
        activations: how the result is quantized; None where rotation is an operation of its own.
    """

    width: int
    left: int | None
    right: int | None
    activations: QuantArgs | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationArgs:
    """Which text the statistics come from, and how much: ``num_samples`` sequences of at most ``max_length`` tokens.

    ``dataset`` is a calibration set; ``source`` is what some of them take: a benchmark's name, or a path of plain text.

    ``propagation`` says what a block is shown: what the ``quantized`` blocks before it make of the text, as it will be
    when the model runs, or what the ``full-precision`` ones do. ``precision`` is what a block computes in on the text:
    with ``bfloat16`` it still takes and gives float32 hidden states, and statistics stay float32; it is several times
    as fast on a processor that has instructions for it. What is then evaluated is not touched by it.
    """

    dataset: str
    num_samples: int = 128
    max_length: int = 512
    seed: int = 0
    source: str | None = None
    propagation: Literal["quantized", "full-precision"] = "quantized"
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.num_samples < 1 or self.max_length < 2:
            raise RecipeError(
                f"calibration asks for {self.num_samples} samples of {self.max_length} tokens;"
                " it needs at least 1 sample of 2 tokens"
            )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Other settings for some layers; a setting that is absent stays the recipe's.

    A target is a full name, its last part or a shell pattern.
    """

    targets: tuple[str, ...]
    weights: QuantArgs | None = None
    input_activations: QuantArgs | None = None

    def __post_init__(self) -> None:
        if not self.targets or (self.weights is None and self.input_activations is None):
            raise RecipeError(
                f"an override has targets {list(self.targets)} and no setting, or none to set it on; it needs both"
            )

    def matches(self, name: str) -> bool:
        """Tell whether a layer is among the targets."""
        return matches(name, self.targets)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a layer's name fits a pattern: a full name, its last part or a shell pattern."""
    return any(fnmatch.fnmatchcase(name, pattern) or name.rpartition(".")[2] == pattern for pattern in patterns)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerArgs:
    """The settings that one linear layer is quantized by."""

    weights: QuantArgs
    input_activations: QuantArgs | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A complete quantization recipe: transforms, one rounding, and the settings of every kind of tensor.

    ``calibration`` absent means the set that the model's catalogue entry names. ``options`` holds one table for each
    transform or rounding that takes any. The first of ``overrides`` that matches a layer holds for it.
    """

    name: str
    description: str = ""
    transforms: tuple[str, ...] = ()
    rounding: str = "nearest"
    weights: QuantArgs
    input_activations: QuantArgs | None = None
    kv_cache: QuantArgs | None = None
    ignore: tuple[str, ...] = ("lm_head",)
    overrides: tuple[Override, ...] = ()
    calibration: CalibrationArgs | None = None
    options: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for weights in (self.weights, *(o.weights for o in self.overrides if o.weights)):
            if weights.strategy not in ("channel", "group"):
                raise RecipeError(
                    f"recipe {self.name!r}: weights have strategy {weights.strategy!r}; possible: channel, group"
                )
        for activations in (self.input_activations, *(o.input_activations for o in self.overrides)):
            self._check_activations(activations)
        self._check_kv_cache()
        for name in self.options:
            if name not in (*self.transforms, self.rounding):
                raise RecipeError(
                    f"recipe {self.name!r}: options for {name!r}, which the recipe does not use;"
                    f" it uses {', '.join((*self.transforms, self.rounding))}"
                )

    def layer_args(self, name: str) -> LayerArgs | None:
        """Return the settings of a linear layer by its full name; None where it is ignored."""
        if matches(name, self.ignore):
            return None
        override = next((o for o in self.overrides if o.matches(name)), None)
        weights = (override and override.weights) or self.weights
        return LayerArgs(
            weights=weights, input_activations=(override and override.input_activations) or self.input_activations
        )

    def _check_activations(self, activations: QuantArgs | None) -> None:
        if activations is not None and (activations.strategy not in ("token", "tensor") or not activations.symmetric):
            raise RecipeError(
                f"recipe {self.name!r}: input_activations must be symmetric with strategy 'token' (dynamic) or 'tensor'"
                f" (static); found {activations.strategy!r}, symmetric = {str(activations.symmetric).lower()}"
            )

    def _check_kv_cache(self) -> None:
        cache = self.kv_cache
        if cache is not None and cache.strategy not in ("token", "channel"):
            raise RecipeError(
                f"recipe {self.name!r}: kv_cache has strategy {cache.strategy!r}; possible: token (a scale per token"
                " and head, dynamic) and channel (a scale per head and channel, static)"
            )

    @property
    def fingerprint(self) -> str:
        """The sha256 of everything that changes the result; name and description do not.

        What is at its default is left out, so that a setting which did not exist when a baseline was measured does not
        make that baseline stale.
        """
        return digest(_set_fields(dataclasses.replace(self, name="", description="")))


def _set_fields(value: Any) -> Any:
    """Return a record as plain data without the fields that are at their defaults."""
    if isinstance(value, tuple):
        return [_set_fields(entry) for entry in value]
    if not dataclasses.is_dataclass(value):
        return value
    fields = {field.name: (field, getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {name: _set_fields(found) for name, (field, found) in fields.items() if found != _default(field)}


def _default(field: dataclasses.Field[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """How one decoder layer came out of quantization.

    ``relative_error`` is ``||quantized - float||² / ||float||²`` of its output on the calibration text, or on its
    shortest sequences where quantized outputs are not passed on (full-precision propagation); absent where a recipe
    needs no text. ``linear_errors`` is the same of each linear's output, where the rounding knows its inputs.
    ``losses`` is the curve of a learned transform, and ``rolled_back`` names what was put back because it got worse.
    """

    name: str
    relative_error: float | None = None
    linear_errors: dict[str, float] = dataclasses.field(default_factory=dict)
    losses: tuple[float, ...] = ()
    rolled_back: tuple[str, ...] = ()
