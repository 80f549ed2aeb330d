"""The baseline is of other weights under the same name."""

import dataclasses

from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.rewrite(lambda b: dataclasses.replace(b, must_match=b.must_match | {"weights": "0" * 64}))
