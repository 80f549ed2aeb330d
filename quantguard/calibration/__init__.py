"""Calibration sets: the text that a model is shown while it is quantized."""

from typing import Protocol

from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs
from quantguard.registry import Registry

__all__ = ["CalibrationSet", "Drawing", "members"]


class CalibrationSet(Protocol):
    """What a calibration set has."""

    @property
    def RUNS_MODEL(self) -> bool:
        """Whether it needs the model itself, and not its tokenizer alone."""

    def token_sequences(self, loaded: LoadedModel, args: CalibrationArgs) -> list[list[int]]:
        """Return lists of token ids; raise DataError or RecipeError where they cannot be made."""


class Drawing(Protocol):
    """A calibration set that draws from a benchmark."""

    def items(self, args: CalibrationArgs) -> tuple[str, ...]:
        """Return the names ``benchmark/id`` of what it draws: no gate may run one of them."""


members = Registry("calibration", CalibrationSet, kind="calibration set", abilities=[Drawing])
