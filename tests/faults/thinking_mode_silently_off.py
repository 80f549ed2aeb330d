"""Thinking is switched off though the default was asked for."""

from _lab import Lab

from quantguard.engines import transformers
from quantguard.engines._prompting import render

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(transformers, "render", lambda model, text, _mode: render(model, text, "no_think"))
