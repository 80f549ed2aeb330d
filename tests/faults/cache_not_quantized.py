"""Keys and values are stored in floating point where 8 bits are asked for."""

from quantguard.modeling import LoadedModel
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_model

AREA = "KV cache"
RECIPE = "smoothquant-w8a8kv8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def change(model: LoadedModel) -> None:
        for layer in model.model.model.layers:
            layer.self_attn.extension.quantizers = None

    spoil_model(lab, change)
