"""Every planted fault says what it is; one of each area is run, and is seen by the gates that it names."""

import dataclasses
import pathlib
import shutil

import pytest

from quantguard import gates, recipes
from quantguard.pipeline import session
from tests.support import fault_lab

# Quick ones. Timings belong to the study: what runs beside a test would decide them.
RUN = {
    "kernels": "bias_added_twice",
    "packing": "one_row_is_its_neighbour",
    "rounding": "weights_rounded_down",
    "transforms": "smoothing_not_folded_into_the_norm",
    "KV cache": "cache_crop_off_by_one",
    "recipes": "recipe_ignores_everything",
    "calibration": "calibration_cut_to_four_tokens",
    "engine": "answers_lost",
    "scorer": "scorer_accepts_everything",
    "baselines": "baseline_edited",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("faults")


@pytest.mark.parametrize("name", fault_lab.names())
def test_a_fault_says_what_it_is(name: str) -> None:
    fault = fault_lab.load(name)
    assert str(fault.__doc__).endswith(".")
    assert "\n" not in str(fault.__doc__)
    assert fault.AREA in fault_lab.AREAS
    assert fault.RECIPE in recipes.names()
    assert set(fault.EXPECTED) <= set(gates.members)
    assert callable(fault.plant)


@pytest.mark.parametrize("name", fault_lab.names())
def test_a_fault_still_finds_what_it_breaks(name: str, tmp_path: pathlib.Path) -> None:
    """Plant it without running anything: what it patches may have gone."""
    fault = fault_lab.load(name)
    fault_lab.project(tmp_path, fault.RECIPE)
    profile = fault_lab.ROOT / "baselines/cpu/tiny-reasoner/w8a8/layers.json"
    lab = fault_lab.Lab(patch=pytest.MonkeyPatch(), project=tmp_path, recipe=fault.RECIPE)
    if not lab.profile.exists():
        shutil.copy(profile, lab.profile)
    with lab.patch.context() as patch:
        fault.plant(dataclasses.replace(lab, patch=patch))


def test_there_is_a_fault_in_every_area_and_most_are_seen() -> None:
    faults = [fault_lab.load(name) for name in fault_lab.names()]
    assert set(RUN) == set(fault_lab.AREAS)
    assert set(RUN) == {fault.AREA for fault in faults}
    assert sum(bool(fault.EXPECTED) for fault in faults) >= 0.95 * len(faults)


@pytest.mark.parametrize("area", RUN)
def test_a_planted_fault_is_seen(area: str, folder: pathlib.Path) -> None:
    fault = fault_lab.load(RUN[area])
    assert area == fault.AREA
    seen = fault_lab.run_fault(RUN[area], folder, without=("latency",))
    assert set(fault.EXPECTED) <= {entry.gate for entry in seen if entry.is_alarm}
    assert "CRASH" not in {entry.outcome for entry in seen}


def test_without_a_fault_no_gate_is_alarmed(folder: pathlib.Path) -> None:
    project = folder / "healthy"
    fault_lab.healthy_project(project, "w8a8", without=("latency",))
    seen = fault_lab.run_gates(project, f"--quantguard-limit={fault_lab.NUM_ITEMS}")
    assert {entry.gate: entry.outcome for entry in seen} == dict.fromkeys(set(gates.members) - {"latency"}, "PASS")


def test_a_traceback_is_no_alarm_of_a_gate(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = folder / "crashing"
    fault_lab.project(project, "w8a8", without=("latency",))

    def broken(*_args: object, **_more: object) -> None:
        raise LookupError("a defect that nobody foresaw")

    monkeypatch.setattr(session, "quantize", broken)
    crashes = fault_lab.run_gates(project)
    assert {crash.gate for crash in crashes} == set(gates.members) - {"latency"}
    assert {(crash.outcome, crash.is_alarm) for crash in crashes} == {("CRASH", False)}
