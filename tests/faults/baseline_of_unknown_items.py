"""The baseline has items that the benchmark does not have."""

import dataclasses

from quantguard.baselines import Baseline
from quantguard.baselines.record import BaselineItem
from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    def renamed(baseline: Baseline) -> Baseline:
        return dataclasses.replace(baseline, items=tuple(_renamed(item) for item in baseline.items))

    lab.rewrite(renamed)


def _renamed(item: BaselineItem) -> BaselineItem:
    name = f"old-{item.sample_id}"
    reference, accepted = (dataclasses.replace(score, sample_id=name) for score in (item.reference, item.accepted))
    return dataclasses.replace(item, sample_id=name, reference=reference, accepted=accepted)
