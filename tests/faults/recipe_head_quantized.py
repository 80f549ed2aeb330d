"""The head is rounded to 4 bits though the recipe ignores it."""

import torch

from quantguard.modeling import LoadedModel
from quantguard.numerics import fake_quantize
from quantguard.records import QuantArgs
from tests.support.fault_lab import Lab
from tests.support.fault_spoiling import spoil_model

AREA = "recipes"
RECIPE = "gptq-w4a16"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    def change(model: LoadedModel) -> None:
        head = model.model.lm_head
        args = QuantArgs(num_bits=4, strategy="channel")
        head.weight = torch.nn.Parameter(fake_quantize(head.weight.detach(), args), requires_grad=False)

    spoil_model(lab, change)
