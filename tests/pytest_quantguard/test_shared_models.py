"""Models that tests share are seen to be left as they were."""

import dataclasses

import pytest
import torch
from torch import nn

import quantguard
from tests.support import shared_models


def test_a_test_that_changes_a_shared_model_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(3, 2)
    layer.register_buffer("weight_scale", torch.ones(2))
    model = dataclasses.replace(quantguard.load("tiny-reasoner"), model=layer)
    monkeypatch.setattr(shared_models, "_QUANTIZED", {"w8a8": (model, shared_models.checksum(model))})
    shared_models.require_unchanged()
    layer.get_buffer("weight_scale")[1] = 2.0
    with pytest.raises(AssertionError, match="a test changed the shared tiny-reasoner"):
        shared_models.require_unchanged()
