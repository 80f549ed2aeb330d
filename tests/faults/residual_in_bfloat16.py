"""The residual stream is rounded to bfloat16 behind every layer."""

import torch

from quantguard.modeling import LoadedModel
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_model

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def rounded(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output.bfloat16().float()

    def change(model: LoadedModel) -> None:
        for layer in model.model.model.layers:
            layer.register_forward_hook(rounded)

    spoil_model(lab, change)
