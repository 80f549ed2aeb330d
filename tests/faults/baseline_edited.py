"""Outcomes in the baseline were edited by hand."""

from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    text = lab.baseline.read_text()
    lab.baseline.write_text(text.replace('"value": 1.0', '"value": 0.0', 20))
