"""The file of the baseline ends in the middle."""

from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.baseline.write_text(lab.baseline.read_text()[:50_000])
