"""What to quantize, to how many bits and by which method."""

import dataclasses
from typing import Any, Literal

from quantguard.errors import RecipeError
from quantguard.records.codec import digest

Strategy = Literal["tensor", "channel", "group", "token"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QuantArgs:
    """How one kind of tensor is quantized, in the vocabulary of compressed-tensors.

    ``strategy`` says what shares a scale: the whole ``tensor``, an output ``channel``, a ``group`` of
    ``group_size`` consecutive inputs of a channel, or a ``token``. ``dynamic`` scales are computed as the
    model runs, others when it is quantized.
    """

    num_bits: int
    type: Literal["int"] = "int"
    symmetric: bool = True
    strategy: Strategy
    group_size: int | None = None
    dynamic: bool = False

    def __post_init__(self) -> None:
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
class CalibrationArgs:
    """Which text the statistics come from, and how much: ``num_samples`` sequences of at most ``max_length`` tokens."""

    dataset: str
    num_samples: int = 128
    max_length: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_samples < 1 or self.max_length < 2:
            raise RecipeError(
                f"calibration asks for {self.num_samples} samples of {self.max_length} tokens;"
                " it needs at least 1 sample of 2 tokens"
            )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A complete quantization recipe: transforms, one rounding, and the settings of every kind of tensor.

    ``calibration`` absent means the set that the model's catalogue entry names. ``options`` holds one table for each
    transform or rounding that takes any.
    """

    name: str
    description: str = ""
    transforms: tuple[str, ...] = ()
    rounding: str = "nearest"
    weights: QuantArgs
    input_activations: QuantArgs | None = None
    kv_cache: QuantArgs | None = None
    ignore: tuple[str, ...] = ("lm_head",)
    calibration: CalibrationArgs | None = None
    options: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weights.strategy not in ("channel", "group"):
            raise RecipeError(
                f"recipe {self.name!r}: weights have strategy {self.weights.strategy!r}; possible: channel, group"
            )
        activations = self.input_activations
        if activations is not None and (activations.strategy != "token" or not activations.symmetric):
            raise RecipeError(
                f"recipe {self.name!r}: input_activations must be symmetric with strategy 'token';"
                f" found {activations.strategy!r}, symmetric = {str(activations.symmetric).lower()}"
            )
        for name in self.options:
            if name not in (*self.transforms, self.rounding):
                raise RecipeError(
                    f"recipe {self.name!r}: options for {name!r}, which the recipe does not use;"
                    f" it uses {', '.join((*self.transforms, self.rounding))}"
                )

    @property
    def fingerprint(self) -> str:
        """The sha256 of everything that changes the result; name and description do not."""
        return digest(dataclasses.replace(self, name="", description=""))
