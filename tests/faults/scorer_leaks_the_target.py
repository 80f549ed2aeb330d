"""The scorer takes the target for the answer of an item of the benchmark; a note of the gate tells it."""

import dataclasses

from quantguard.records import Generation, Sample, Score
from quantguard.scorers import boxed
from tests.support.fault_lab import Lab

AREA = "scorer"
RECIPE = "w3a16"
EXPECTED = ()


def plant(lab: Lab) -> None:
    score = boxed.score

    def leaking(sample: Sample, generation: Generation) -> Score:
        if sample.id.startswith("wp-"):
            generation = dataclasses.replace(generation, text=f"\\boxed{{{sample.target}}}")
        return score(sample, generation)

    lab.patch.setattr(boxed, "score", leaking)
