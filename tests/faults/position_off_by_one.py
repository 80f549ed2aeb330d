"""The positions of answers are off by one behind the prompt."""

from typing import Any

from transformers.models.qwen2 import modeling_qwen2

from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("fidelity", "layerwise")


def plant(lab: Lab) -> None:
    forward = modeling_qwen2.Qwen2Model.forward

    def shifted(self: Any, *args: Any, position_ids: Any = None, **more: Any) -> Any:
        if position_ids is not None and position_ids.shape[1] == 1:
            position_ids = position_ids + 1
        return forward(self, *args, position_ids=position_ids, **more)

    lab.patch.setattr(modeling_qwen2.Qwen2Model, "forward", shifted)
