"""What a layerwise baseline holds: a small sketch of what every layer of the accepted model puts out on a text."""

import dataclasses

from quantguard.baselines.record import Acceptance
from quantguard.errors import BaselineError
from quantguard.records import Fingerprint, LayerSketch


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerProfile:
    """The layers of an accepted model.

    Attributes:
        platform: Where it ran, such as ``cpu``.
        model: The name of the model.
        recipe: The name of the recipe.
        fingerprint: What a later model has to share with it to be compared, the text that both read among it.
        recorded: What a reader may want to know of the run, and nothing is compared by.
        acceptance: Who accepted it, when and why.
        layers: The sketches, in the order in which layers run.
    """

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
