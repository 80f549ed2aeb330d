"""The baseline was copied from another recipe."""

from tests.support.fault_lab import ROOT, Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.baseline.write_text((ROOT / "baselines/cpu/tiny-reasoner/gptq-w4a16/word-problems.json").read_text())
