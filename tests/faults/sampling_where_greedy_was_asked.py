"""Tokens are sampled at temperature 1.5 where greedy decoding was asked for."""

import dataclasses

from quantguard.engines.transformers import decoding
from quantguard.modeling import LoadedModel
from quantguard.records import GenerationConfig
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    create = decoding.Decoding.__init__

    def warm(self: decoding.Decoding, loaded: LoadedModel, config: GenerationConfig) -> None:
        create(self, loaded, dataclasses.replace(config, temperature=1.5))

    lab.patch.setattr(decoding.Decoding, "__init__", warm)
