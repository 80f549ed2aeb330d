"""All layers' keys and values have the fixed scales of layer 0."""

from quantguard.modeling import LoadedModel
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_model

AREA = "KV cache"
RECIPE = "smoothquant-w8a8kv8-static"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def change(model: LoadedModel) -> None:
        layers = model.model.model.layers
        for layer in layers:
            layer.self_attn.extension.quantizers = layers[0].self_attn.extension.quantizers

    spoil_model(lab, change)
