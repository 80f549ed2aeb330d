"""The baseline's outcomes are filed under each other's items, with a hash made anew."""

import dataclasses

from quantguard.baselines import Baseline
from quantguard.baselines.record import BaselineItem
from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ()


def plant(lab: Lab) -> None:
    def shuffled(baseline: Baseline) -> Baseline:
        items = baseline.items
        pairs = zip(items, [*items[1:], items[0]], strict=True)
        return dataclasses.replace(baseline, items=tuple(_filed(item, other) for item, other in pairs))

    lab.rewrite(shuffled)


def _filed(item: BaselineItem, other: BaselineItem) -> BaselineItem:
    name = item.sample_id
    reference, accepted = (dataclasses.replace(score, sample_id=name) for score in (other.reference, other.accepted))
    return dataclasses.replace(item, reference=reference, accepted=accepted)
