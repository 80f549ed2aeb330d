"""The chat template is there and is not applied."""

from _lab import Lab

from quantguard.engines import transformers

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.patch.setattr(transformers, "render", lambda _model, text, _mode: text)
