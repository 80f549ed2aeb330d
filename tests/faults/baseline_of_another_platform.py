"""The baseline was measured on an emulated NPU."""

from tests.support.fault_lab import ROOT, Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("accuracy",)


def plant(lab: Lab) -> None:
    lab.baseline.write_text((ROOT / "baselines/emulated-910b/tiny-reasoner/w8a8/word-problems.json").read_text())
