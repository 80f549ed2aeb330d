"""The engine cuts answers off at 80 tokens whatever it is asked."""

import dataclasses

from quantguard.engines.transformers import decoding
from quantguard.modeling import LoadedModel
from quantguard.records import GenerationConfig
from tests.support.fault_lab import Lab

AREA = "engine"
RECIPE = "w8a8"
EXPECTED = ("accuracy", "reasoning")


def plant(lab: Lab) -> None:
    create = decoding.Decoding.__init__

    def limited(self: decoding.Decoding, loaded: LoadedModel, config: GenerationConfig) -> None:
        create(self, loaded, dataclasses.replace(config, max_new_tokens=80))

    lab.patch.setattr(decoding.Decoding, "__init__", limited)
