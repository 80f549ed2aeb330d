"""Queries and keys are rotated by their positions twice."""

from _lab import Lab
from transformers.models.qwen2 import modeling_qwen2

AREA = "kernels"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    rotate = modeling_qwen2.apply_rotary_pos_emb
    lab.patch.setattr(modeling_qwen2, "apply_rotary_pos_emb", lambda q, k, *more: rotate(*rotate(q, k, *more), *more))
