"""Green and red for the right reason: what the plugin does with good, damaged, foreign and missing baselines."""

import dataclasses
import json
import pathlib
import xml.etree.ElementTree as ET

import pytest

from quantguard import baselines
from quantguard.baselines import Baseline
from tests.support.fingerprints import with_facts
from tests.support.gate_runs import COMMITTED, W8A8, assert_error, copy_baselines, run, write_gate

pytestmark = pytest.mark.usefixtures("shared_models")


def rewrite(path: pathlib.Path, **changes: object) -> Baseline:
    """Store a changed baseline with a hash that fits."""
    changed = dataclasses.replace(baselines.read(path), **changes)  # type: ignore[arg-type]
    baselines.write(path, changed)
    return changed


def test_a_good_recipe_passes_and_says_what_was_measured(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    copy_baselines(pytester)
    result = run(pytester, "--quantguard-limit=120", "--quantguard-report=out")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "*PASS*accuracy: word-problems on tiny-reasoner, w8a8 (cpu)",
            "*of 120 items; a drop of 4.5 points is ruled out*",
            "*int8_linear on cpu (28 layers)*",
            "quantguard: 1 PASS",
        ]
    )
    properties = {p.attrib["name"]: p.attrib["value"] for p in ET.parse(pytester.path / "junit.xml").iter("property")}
    assert properties["quantguard.accuracy.outcome"] == "PASS"
    assert properties["quantguard.accuracy.n"] == "120"
    table = json.loads((pytester.path / "out/results.json").read_text())["gates"]
    assert len(table[0]["record"]["scores"]) == 120
    assert "| PASS | accuracy |" in (pytester.path / "out/summary.md").read_text()


def test_an_undecided_gate_fails_unless_told_otherwise(pytester: pytest.Pytester) -> None:
    """3-bit weights against full precision: as many points lost as are tolerated."""
    write_gate(pytester, "w3a16", "tol=0.15, against='reference'")
    copy_baselines(pytester)
    result = run(pytester, "--quantguard-limit=40")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*INCONCLUSIVE*", "*more items are needed*"])
    result = run(pytester, "--quantguard-limit=40", "--quantguard-inconclusive=warn")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*INCONCLUSIVE*", "*judged together with what did not pass earlier*"])


def test_a_gate_that_cannot_decide_is_refused_before_it_runs(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    copy_baselines(pytester)
    result = run(pytester, "--quantguard-limit=10")
    assert_error(pytester, result, "*10 items cannot rule a drop of 4.5 points out*at least 66 are needed*")
    assert "tokens an answer" not in result.stdout.str()
    result = run(pytester, "--quantguard-limit=10", "--quantguard-inconclusive=warn")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*INCONCLUSIVE*"])


def test_a_missing_baseline_is_an_error(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    assert_error(pytester, run(pytester), "*there is no baseline*", "*--quantguard-update=new*")


def test_a_truncated_baseline_is_an_error(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    path = copy_baselines(pytester) / W8A8
    path.write_text(path.read_text()[:5000])
    assert_error(pytester, run(pytester), "*is damaged*", "*--quantguard-update=changed*")


def test_an_edited_baseline_is_an_error(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    path = copy_baselines(pytester) / W8A8
    path.write_text(path.read_text().replace('"value": 1.0', '"value": 0.0', 5))
    assert_error(pytester, run(pytester), "*was edited*", "*--quantguard-update=changed*")


@pytest.mark.parametrize("field", ["platform", "model", "recipe", "benchmark"])
def test_a_foreign_baseline_is_an_error(pytester: pytest.Pytester, field: str) -> None:
    write_gate(pytester)
    rewrite(copy_baselines(pytester) / W8A8, **{field: "other"})
    assert_error(pytester, run(pytester), f"*is foreign: it is for {field} 'other'*", "*--quantguard-update=changed*")


def test_a_stale_baseline_is_an_error_that_names_what_changed(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    path = copy_baselines(pytester) / W8A8
    rewrite(path, fingerprint=with_facts(baselines.read(path).fingerprint, weights="0" * 64))
    assert_error(pytester, run(pytester), "*is stale: weights was 000000000000*", "*--quantguard-update=changed*")


def test_a_baseline_with_fewer_judged_items_than_98_percent_is_an_error(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    path = copy_baselines(pytester) / W8A8
    items = baselines.read(path).items
    unjudged = tuple(
        dataclasses.replace(item, accepted=dataclasses.replace(item.accepted, value=None)) if index < 3 else item
        for index, item in enumerate(items)
    )
    rewrite(path, items=unjudged)
    result = run(pytester, "--quantguard-limit=100")
    assert_error(pytester, result, "*only 97 of 100 items have a judged outcome*", "*--quantguard-update=all*")


def test_a_baseline_with_items_that_the_benchmark_does_not_have_is_an_error(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    path = copy_baselines(pytester) / W8A8
    first, *rest = baselines.read(path).items
    scores = (dataclasses.replace(score, sample_id="wp-9999") for score in (first.reference, first.accepted))
    reference, accepted = scores
    strange = dataclasses.replace(first, sample_id="wp-9999", reference=reference, accepted=accepted)
    rewrite(path, items=(strange, *rest))
    assert_error(pytester, run(pytester), "*word-problems has no item 'wp-9999'*")


def test_a_gate_that_never_checks_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import quantguard\n\n@quantguard.accuracy(tol=0.045)\ndef test_release(guard):\n    pass\n")
    assert_error(pytester, run(pytester), "*measured nothing: it never called guard.check()*")


def test_a_check_without_a_gate_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_release(guard):\n    guard.check('tiny-reasoner', recipe='w8a8')\n")
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*has no gate to check: mark the test*"])


def test_two_gates_of_a_kind_on_one_test_are_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import quantguard\n\n@quantguard.memory(max_ratio=0.9)\n@quantguard.memory(max_ratio=0.1)\n"
        "def test_release(guard):\n    guard.check('tiny-reasoner', recipe='w8a8')\n"
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*two memory gates mark test_release*"])


def test_a_fixture_of_the_same_name_makes_no_gate(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n\n@pytest.fixture\ndef guard():\n    return 1\n\ndef test_it(guard):\n    assert guard\n"
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_subset_that_was_changed_makes_the_baseline_stale(pytester: pytest.Pytester) -> None:
    copy_baselines(pytester)
    pytester.makepyfile(
        "import quantguard\n\n@quantguard.accuracy(tol=0.045, subset=600)\n"
        "def test_release(guard):\n    guard.check('tiny-reasoner', recipe='w8a8')\n"
    )
    assert_error(pytester, run(pytester), "*it has 300 items, and the gate asks for subset=600*")


def test_an_unknown_recipe_is_an_error_with_close_matches(pytester: pytest.Pytester) -> None:
    write_gate(pytester, recipe="w8a9")
    assert_error(pytester, run(pytester), "*unknown recipe 'w8a9'. Did you mean 'w8a8'*")


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ("accuracy(tol=4.5)", "*for 4.5 points write tol=0.045*"),
        ("accuracy(tol=-0.1)", "*a fraction between 0 and 1*"),
        ("accuracy(tolerance=0.1)", "*unknown keyword; possible: benchmark, tol*"),
        ("latency(stage='warmup', min_speedup=1)", "*possible are 'prefill' and 'decode'*"),
        ("latency()", "*min_speedup is needed*"),
        ("memory(max_ratio=0)", "*a ratio such as 0.6 is wanted*"),
        ("acuracy(tol=0.1)", "*has no attribute 'acuracy'*"),
    ],
)
def test_a_marker_that_cannot_be_meant_is_an_error_where_it_is_written(
    pytester: pytest.Pytester, marker: str, complaint: str
) -> None:
    pytester.makepyfile(f"import quantguard\n\n@quantguard.{marker}\ndef test_release(guard):\n    pass\n")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([complaint])


def test_without_the_option_gates_are_left_out_and_said_to_be(pytester: pytest.Pytester) -> None:
    write_gate(pytester)
    pytester.makepyfile(test_other="def test_other():\n    pass\n")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(["quantguard: 1 gates were not run; run them with pytest --quantguard"])


def test_no_gate_at_all_is_not_success(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_other():\n    pass\n")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["quantguard: no gate was decided"])


def test_gates_that_are_all_skipped_are_not_success(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import quantguard\n\n@quantguard.accuracy(tol=0.045)\n"
        "def test_release(guard, npu_device):\n    raise SystemExit\n"
    )
    result = run(pytester, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs an Ascend NPU: run pytest with --npu*"])
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        pytest.param(["--quantguard", "--npu"], "*torch_npu is not installed*", id="no NPU"),
        pytest.param(["--quantguard-update=all"], "*give --quantguard with it*", id="update without gates"),
        pytest.param(
            ["--quantguard", "--quantguard-accept-regression=x"], "*goes with --quantguard-update*", id="reason"
        ),
        pytest.param(
            ["--quantguard", "--quantguard-update=all", "--quantguard-limit=5"],
            "*whole baselines*",
            id="partial update",
        ),
        pytest.param(["--quantguard-limit=0"], "*a number above 0 is wanted, not '0'*", id="no items"),
    ],
)
def test_options_that_cannot_be_met_are_usage_errors(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str], complaint: str
) -> None:
    monkeypatch.delenv("CI", raising=False)
    write_gate(pytester)
    result = pytester.runpytest_inprocess(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([complaint])


def test_an_update_does_not_run_under_ci(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    write_gate(pytester)
    result = run(pytester, "--quantguard-update=new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*does not run under CI*"])


def test_the_committed_baselines_are_whole_and_of_no_regressed_run() -> None:
    profiles = {path for path in COMMITTED.rglob("layers.json") if baselines.read(path, baselines.LayerProfile).layers}
    paths = sorted(set(COMMITTED.rglob("*.json")) - profiles)
    assert len(paths) >= 3
    for path in paths:
        baseline = baselines.read(path)
        assert len(baseline.items) >= 300
        assert baseline.acceptance.why
