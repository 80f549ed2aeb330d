"""A norm has the wrong epsilon, 0.01 in place of a millionth."""

from quantguard.modeling import LoadedModel
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_model

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def change(model: LoadedModel) -> None:
        for layer in model.model.model.layers:
            layer.input_layernorm.variance_epsilon = 1e-2

    spoil_model(lab, change)
