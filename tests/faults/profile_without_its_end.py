"""The profile of the layers has lost its last layers, with a hash made anew."""

import dataclasses

from quantguard import baselines
from quantguard.baselines import LayerProfile
from tests.support.fault_lab import Lab

AREA = "baselines"
RECIPE = "w8a8"
EXPECTED = ("layerwise",)


def plant(lab: Lab) -> None:
    profile = baselines.read(lab.profile, LayerProfile)
    baselines.write(lab.profile, dataclasses.replace(profile, layers=profile.layers[:-8]))
