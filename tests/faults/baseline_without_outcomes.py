"""Nothing in the baseline could be judged."""

import dataclasses

from quantguard.baselines import Baseline
from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    def unjudged(baseline: Baseline) -> Baseline:
        items = [dataclasses.replace(i, accepted=dataclasses.replace(i.accepted, value=None)) for i in baseline.items]
        return dataclasses.replace(baseline, items=tuple(items))

    lab.rewrite(unjudged)
