"""What a layerwise baseline holds: a small sketch of what every layer of the accepted model puts out on a text."""

import dataclasses

from quantguard.baselines.record import Acceptance
from quantguard.errors import BaselineError
from quantguard.records import Fingerprint, LayerSketch


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerProfile:
    """The layers of an accepted model in the order in which they run."""

    platform: str
    model: str
    recipe: str
    fingerprint: Fingerprint
    recorded: dict[str, str]
    acceptance: Acceptance
    layers: tuple[LayerSketch, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise BaselineError("it holds no layers")
        if len({layer.name for layer in self.layers}) != len(self.layers):
            raise BaselineError("it holds a layer twice")
        if len({len(layer.buckets) for layer in self.layers}) != 1:
            raise BaselineError("its sketches are of different sizes")
