"""Keys have the fixed scales of values, and values those of keys."""

from quantguard.modeling import LoadedModel
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_model

AREA = "KV cache"
RECIPE = "smoothquant-w8a8kv8-static"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def change(model: LoadedModel) -> None:
        for layer in model.model.model.layers:
            keys, values = layer.self_attn.extension.quantizers
            layer.self_attn.extension.quantizers = (values, keys)

    spoil_model(lab, change)
