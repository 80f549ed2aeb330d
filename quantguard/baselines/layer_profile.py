"""What a layerwise baseline holds: a small sketch of what every layer of the accepted model puts out on a text."""

import dataclasses
from typing import ClassVar

from quantguard.baselines.record import Acceptance
from quantguard.errors import BaselineError
from quantguard.records import Fingerprint, LayerSketch

SCHEMA_VERSION = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerProfile:
    """The layers of an accepted model in the order in which they run."""

    ROWS: ClassVar[str] = "layers"

    schema_version: int
    platform: str
    model: str
    recipe: str
    fingerprint: Fingerprint
    recorded: dict[str, str]
    acceptance: Acceptance
    layers: tuple[LayerSketch, ...]

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise BaselineError(f"schema_version is {self.schema_version}; this quantguard reads {SCHEMA_VERSION}")
        if not self.layers:
            raise BaselineError("it holds no layers")
        if len({layer.name for layer in self.layers}) != len(self.layers):
            raise BaselineError("it holds a layer twice")
        if len({len(layer.buckets) for layer in self.layers}) != 1:
            raise BaselineError("its sketches are of different sizes")
