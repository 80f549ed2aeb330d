"""The quantized model is compared with itself in the place of full precision."""

from quantguard.modeling import LoadedModel
from quantguard.pipeline import session
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "fidelity")


def plant(lab: Lab) -> None:
    def itself(loaded: LoadedModel) -> LoadedModel:
        return loaded

    lab.patch.setattr(session, "full_precision_of", itself)
