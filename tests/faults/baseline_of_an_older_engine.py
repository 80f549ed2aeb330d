"""The baseline was measured by an older engine."""

import dataclasses

from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.rewrite(lambda b: dataclasses.replace(b, must_match=b.must_match | {"engine": "transformers/1"}))
