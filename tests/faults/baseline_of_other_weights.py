"""The baseline is of other weights under the same name."""

import dataclasses

from tests.support.fault_lab import Lab
from tests.support.fingerprints import with_facts

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.rewrite(lambda b: dataclasses.replace(b, fingerprint=with_facts(b.fingerprint, weights="0" * 64)))
