"""Thinking is switched off though the default was asked for."""

from _lab import Lab

from quantguard.engines import transformers
from quantguard.engines._prompting import token_ids

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(transformers, "token_ids", lambda model, text, _mode: token_ids(model, text, "no_think"))
