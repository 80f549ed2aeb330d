"""Thinking is switched off though the default was asked for."""

from quantguard.engines._prompting import token_ids
from quantguard.engines.transformers import generation
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(generation, "token_ids", lambda model, text, _mode: token_ids(model, text, "no_think"))
