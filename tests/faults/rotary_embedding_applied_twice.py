"""Queries and keys are rotated by their positions twice."""

from transformers.models.qwen2 import modeling_qwen2

from tests.support.fault_lab import Lab

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    rotate = modeling_qwen2.apply_rotary_pos_emb
    lab.patch.setattr(modeling_qwen2, "apply_rotary_pos_emb", lambda q, k, *more: rotate(*rotate(q, k, *more), *more))
