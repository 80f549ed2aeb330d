"""There is no baseline."""

from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.baseline.unlink()
