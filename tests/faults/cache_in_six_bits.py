"""Keys and values are rounded to 6 bits where 8 are asked for, wherever they are."""

import dataclasses

from quantguard.modeling import LoadedModel
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_model

AREA = "KV cache"
RECIPE = "smoothquant-w8a8kv8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def change(model: LoadedModel) -> None:
        for layer in model.model.model.layers:
            extension = layer.self_attn.extension
            extension.quantizers = tuple(
                dataclasses.replace(one, args=dataclasses.replace(one.args, num_bits=6)) for one in extension.quantizers
            )

    spoil_model(lab, change)
