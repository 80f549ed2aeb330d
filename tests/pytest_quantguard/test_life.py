"""What the end of a whole run says of stored baselines, and how little a run of a part says."""

import dataclasses
import json
import pathlib

import pytest

from quantguard import catalog
from quantguard.baselines import noise_path, read, write
from quantguard.baselines.suites import recall, to_remove
from tests.support.fingerprints import with_facts
from tests.support.gate_runs import W8A8, run, write_gate

# Workers are waited for.
pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("shared_models")]

SMALL = "tol=0.5, subset=16"
OLD = pathlib.Path("cpu/tiny-reasoner/w8a8-old/word-problems.json")


@pytest.fixture
def measured(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """A gate with its baseline, and one of a gate that is not there any more."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("QUANTGUARD_CACHE", str(tmp_path / "cache"))
    write_gate(pytester, settings=SMALL)
    run(pytester, "--quantguard-update=new").stdout.fnmatch_lines(["quantguard: 1 MEASURED"])
    path: pathlib.Path = pytester.path / "baselines" / W8A8
    stored = read(path)
    other = dataclasses.replace(stored, recipe="w8a8-old", fingerprint=with_facts(stored.fingerprint, recipe="other"))
    write(pytester.path / "baselines" / OLD, other)
    return path


def said(result: pytest.RunResult) -> list[str]:
    return [line for line in result.stdout.lines if line.startswith(("unused", "stale", "renamed", "damaged"))]


@pytest.mark.parametrize("options", [["-p", "no:xdist"], ["-n", "2"]], ids=["plain", "xdist"])
def test_a_whole_run_names_what_no_gate_uses(
    pytester: pytest.Pytester, measured: pathlib.Path, options: list[str]
) -> None:
    noise_path(measured.with_name("gone.json")).write_text("{}")
    foreign = pytester.path / "baselines/ascend-910b/m/r/b.json"
    write(foreign, read(measured))
    result = pytester.runpytest_subprocess("--quantguard", "--quantguard-report=out", *options)
    result.assert_outcomes(passed=1)
    unused, noise = said(result)
    assert f"unused baseline {pytester.path / 'baselines' / OLD}: no gate of the whole suite uses it" in unused
    assert unused.endswith("--yes")
    assert "gone.noise: there is no baseline beside this noise" in noise
    table = json.loads((pytester.path / "out/results.json").read_text())
    assert [notice["kind"] for notice in table["baselines"]] == ["unused", "unused"]
    for name in ("summary.md", "report.html"):
        assert "w8a8-old" in (pytester.path / "out" / name).read_text().replace("&#45;", "-")
    [suite] = recall(pytester.path / "baselines")
    assert {path.name for path in to_remove(suite)} == {"word-problems.json", "gone.noise"}
    assert foreign.exists()


@pytest.mark.parametrize(("pattern", "kinds"), [("cpu/*/w8a8-old/*", []), ("cpu/*/w4a8-old/*", ["unused"])])
def test_what_gates_outside_of_the_suite_use_is_not_called_unused(
    pytester: pytest.Pytester, measured: pathlib.Path, pattern: str, kinds: list[str]
) -> None:
    assert measured.exists()
    pytester.makeini(f"[pytest]\nquantguard_keep_baselines = {pattern}\n")
    assert [line.partition(" ")[0] for line in said(run(pytester))] == kinds


@pytest.mark.parametrize(
    "options",
    [
        ["-k", "release"],
        ["-k", "nothing"],
        ["-m", "quantguard_gate"],
        ["test_release.py"],
        ["--deselect", "test_other.py"],
        ["--quantguard-limit=16"],
        ["--quantguard-update=new"],
        ["--quantguard-plan"],
        ["-x"],
    ],
    ids=" ".join,
)
def test_a_run_of_a_part_calls_nothing_unused(
    pytester: pytest.Pytester, measured: pathlib.Path, options: list[str]
) -> None:
    assert measured.exists()
    if options == ["-x"]:
        pytester.makepyfile(
            test_a="def test_a(guard): assert False", test_release=(pytester.path / "test_release.py").read_text()
        )
    assert said(run(pytester, *options)) == []
    assert not (catalog.cache_root() / "suites").exists()


def test_a_gate_that_did_not_come_to_its_end_keeps_the_run_from_being_whole(
    pytester: pytest.Pytester, measured: pathlib.Path
) -> None:
    assert measured.exists()
    gate = (pytester.path / "test_release.py").read_text()
    for name, body in (("fails", "    assert False"), ("skips", "    import pytest; pytest.skip('no')")):
        pytester.makepyfile(test_release=f"{gate}\n{body}\n")
        assert said(run(pytester)) == [], name


def test_a_gate_that_waits_for_an_npu_is_of_another_platform(pytester: pytest.Pytester, measured: pathlib.Path) -> None:
    assert measured.exists()
    gate = (pytester.path / "test_release.py").read_text()
    pytester.makepyfile(test_npu=gate.replace("(guard)", "(guard, npu_device)"))
    result = run(pytester)
    result.assert_outcomes(passed=1, skipped=1)
    assert len(said(result)) == 1


def test_a_stale_baseline_is_named_with_what_changed(pytester: pytest.Pytester, measured: pathlib.Path) -> None:
    stored = read(measured)
    write(measured, dataclasses.replace(stored, fingerprint=with_facts(stored.fingerprint, engine="transformers/1")))
    result = run(pytester)
    result.assert_outcomes(failed=1)
    [line] = said(result)
    assert f"stale baseline {measured}: engine changed. Type: pytest --quantguard --quantguard-update=changed" in line


def test_a_damaged_baseline_is_named(pytester: pytest.Pytester, measured: pathlib.Path) -> None:
    measured.write_text("{")
    [line] = said(run(pytester))
    assert f"damaged baseline {measured}: it cannot be read. Type: pytest" in line


def test_a_renamed_baseline_is_named_with_the_command_that_moves_it(
    pytester: pytest.Pytester, measured: pathlib.Path
) -> None:
    elsewhere = pytester.path / "baselines/cpu/tiny-old/w8a8/word-problems.json"
    write(elsewhere, dataclasses.replace(read(measured), model="tiny-old"))
    measured.unlink()
    [line] = said(run(pytester))
    assert f"renamed baseline {elsewhere}: a gate misses {measured}" in line
    assert "quantguard baseline rename" in line
    assert line.endswith("--model 'tiny-reasoner' --recipe 'w8a8' --benchmark 'word-problems'")
