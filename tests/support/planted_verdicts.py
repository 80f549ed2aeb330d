"""Gates whose verdict is in the name of their model, so that what becomes of a verdict is tried without a model."""

import html
import json
import pathlib
import xml.etree.ElementTree as ET
from typing import Any, NamedTuple

import pytest

CONFTEST = """
import contextlib

import pytest

from pytest_quantguard import fixtures, terminal
from quantguard import gates
from quantguard.gates import GateResult
from quantguard.records import Verdict


class Session:
    def __init__(self, model):
        self.model = model

    def layer_reports(self):
        return ()


def raised(model):
    if model == "out of memory":
        raise MemoryError
    if model == "endless":
        return raised(model)
    if model == "interrupted":
        raise KeyboardInterrupt
    if model == "exits":
        raise SystemExit(0)
    if model == "panics":
        raise type("PanicException", (BaseException,), {})("a defect in Rust")
    if model == "times out":
        pytest.fail("Timeout (>1.0s) from pytest-timeout.")
    if model == "skips":
        pytest.skip("not here")
    if model == "half":
        raise ValueError("half a character: \\ud800")
    raise {"runtime": RuntimeError, "os": OSError}.get(model, LookupError)(f"what {model} says")


def gate(kind):
    def check(gate, session):
        if kind == "latency":
            outcome = "PASS"
        else:
            outcome = session.model if session.model.isupper() else raised(session.model)
        verdict = Verdict(outcome=outcome, metric="m", reason=f"planted {outcome}")
        return GateResult(gate=kind, model=session.model, recipe="r", subject="s", platform="cpu", verdict=verdict)

    return check


@pytest.fixture(autouse=True)
def _planted(monkeypatch):
    monkeypatch.setattr(fixtures.Guard, "_open", lambda self, target, progress: Session(target.model))
    # What shows progress imports torch, which a worker takes long for.
    monkeypatch.setattr(terminal, "shown", lambda config: contextlib.nullcontext())
    for kind in ("memory", "latency"):
        monkeypatch.setattr(gates.members[kind], "check", gate(kind))
"""
HEAD = """
import concurrent.futures
import contextlib
import os
import signal
import threading
import unittest

import pytest

import quantguard

gate = quantguard.memory(max_ratio=0.6)
"""
# With xdist's workers, with xdist at hand, and without it.
MODES = {"plain": (), "workers": ("-n", "2"), "no xdist": ("-p", "no:xdist")}


class Told(NamedTuple):
    """What a run said: the exit code, and the outcomes of every test in each of its reports."""

    code: int
    rows: dict[str, list[str]]
    tables: list[dict[str, Any]]
    terminal: str
    summary: str
    page: str
    run: pytest.RunResult

    def reasons(self, test: str) -> str:
        """Return the reasons and notes of a test's rows."""
        own = [table for table in self.tables if _name(table["test"]) == test]
        return "\n".join(
            [table["verdict"]["reason"] + "".join(f"\n{note}" for note in table["notes"]) for table in own]
        )


def tell(
    pytester: pytest.Pytester, *options: str, test: str = "", conftest: str = "", subprocess: bool = False
) -> Told:
    """Run a project of planted gates; ``test`` is the body of its file, which may be there already."""
    pytester.makeconftest(CONFTEST + conftest)
    if test:
        pytester.makepyfile(test_gates=HEAD + test)
    start = pytester.runpytest_subprocess if subprocess else pytester.runpytest_inprocess
    run = start("--quantguard", "--quantguard-report=out", "--junitxml=junit.xml", *options)
    tables = json.loads((pytester.path / "out/results.json").read_text())["gates"]
    rows: dict[str, list[str]] = {}
    for table in tables:
        rows.setdefault(_name(table["test"]), []).append(table["outcome"])
    files = [(pytester.path / "out" / name).read_text() for name in ("summary.md", "report.html")]
    return Told(int(run.ret), rows, tables, run.stdout.str(), files[0], files[1], run)


def junit(folder: pathlib.Path) -> dict[str, tuple[str, str]]:
    """Return what JUnit says of every test: whether it failed, and all the text of it."""
    cases = ET.parse(folder / "junit.xml").getroot().iter("testcase")
    told = {}
    for case in cases:
        bad = [child for child in case if child.tag in ("failure", "error")]
        properties = "\n".join(f"{p.get('name')}={p.get('value')}" for p in case.iter("property"))
        body = "\n".join(f"{child.get('message')}\n{child.text}" for child in bad)
        told[str(case.get("name"))] = ("failed" if bad else "passed", f"{properties}\n{body}")
    return told


def is_told(told: Told, test: str, reason: str) -> bool:
    """Tell whether the reason that a test's rows have is in every report."""
    shown = (told.reasons(test), told.terminal, *map(html.unescape, (told.summary, told.page)))
    return all(reason in text for text in shown)


def _name(nodeid: str) -> str:
    return nodeid.rpartition("::")[2]
