"""What a run leaves behind is the same with pytest-xdist and without."""

import json
import pathlib
import re
import xml.etree.ElementTree as ET

import pytest

from tests.support.gate_runs import copy_baselines, run

# Workers are waited for.
pytestmark = pytest.mark.timeout(300)

GATES = """
import quantguard

@quantguard.accuracy(tol=0.045)
@quantguard.memory(max_ratio=0.6)
def test_a(guard):
    guard.check("tiny-reasoner", recipe="w8a8")

@quantguard.memory(max_ratio=0.1)
def test_b(guard):
    guard.check("tiny-reasoner", recipe="w8a8")

@quantguard.accuracy(tol=0.045, against="reference")
def test_c(guard):
    guard.check("tiny-reasoner", recipe="w3a16")
"""


def properties(pytester: pytest.Pytester) -> dict[str, list[tuple[str, str]]]:
    """Return what JUnit keeps of every test."""
    cases = ET.parse(pytester.path / "junit.xml").getroot().iter("testcase")
    return {
        case.attrib["name"]: [(p.attrib["name"], p.attrib["value"]) for p in case.iter("property")] for case in cases
    }


def page(folder: pathlib.Path) -> str:
    return re.sub(r"Made \S+ \S+ UTC", "", (folder / "report.html").read_text())


def test_page_data_and_junit_are_the_same_with_workers_and_without(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_release=GATES)
    copy_baselines(pytester)
    found = []
    for name, options in (("alone", ()), ("workers", ("-n", "2"))):
        result = run(pytester, "--quantguard-fresh", "--quantguard-limit=80", f"--quantguard-report={name}", *options)
        result.assert_outcomes(passed=1, failed=2)
        folder = pytester.path / name
        found.append((page(folder), json.loads((folder / "results.json").read_text()), properties(pytester)))
    alone, workers = found
    assert "lost" in alone[0]
    assert alone[0] == workers[0]
    assert alone[1] == workers[1]
    assert alone[2] == workers[2]
    assert ("quantguard.accuracy.outcome", "PASS") in alone[2]["test_a"]
    assert ("quantguard.memory.outcome", "REGRESSED") in alone[2]["test_b"]
    assert ("quantguard.accuracy.outcome", "REGRESSED") in alone[2]["test_c"]
