"""What one test measures is stored together or not at all; gates of nested draws share one baseline."""

import dataclasses
import errno
import pathlib
from typing import Any

import pytest

from pytest_quantguard import baseline_writer
from quantguard import baselines
from tests.support.gate_runs import run

pytestmark = pytest.mark.usefixtures("shared_models")

FOLDER = pathlib.Path("baselines/cpu/tiny-reasoner")
CHECK = 'guard.check("tiny-reasoner", recipe="{recipe}")'


@pytest.fixture(autouse=True)
def not_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def gates(recipe: str, *tests: str) -> str:
    """Return a file of tests: each is a name, markers and what the test does after its check."""
    written = ["import quantguard"]
    for test in tests:
        name, markers, *after = test.split(" | ")
        written.append("\n".join(f"@quantguard.{marker}" for marker in markers.split("; ")))
        written.append(f"def {name}(guard):\n    {CHECK.format(recipe=recipe)}\n    {''.join(after) or 'pass'}")
    return "\n\n".join(written)


def stored(pytester: pytest.Pytester) -> list[str]:
    return sorted(str(p.relative_to(pytester.path / "baselines")) for p in pytester.path.rglob("baselines/**/*.json"))


def test_a_refused_accuracy_takes_the_profile_of_its_layers_with_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(gates("w3a16", "test_release | accuracy(tol=0.045, subset=40); layerwise()"))
    result = run(pytester, "--quantguard-update=new", "--quantguard-report=out")
    result.assert_outcomes(failed=1)
    why = "accuracy of *test_release is REGRESSED; what one test measures is stored together*"
    result.stdout.fnmatch_lines([f"baseline not written: *layers.json: {why}"])
    assert "not stored: accuracy of" in (pytester.path / "out/results.json").read_text()
    assert stored(pytester) == []
    # Nor does the next run pass on it.
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*there is no baseline *layers.json*"])


@pytest.mark.parametrize(
    "test",
    [
        "test_release | accuracy(tol=0.5, subset=16); memory(max_ratio=0.9) | assert False",
        "test_release | accuracy(tol=0.5, subset=16); memory(max_ratio=0.1)",
    ],
    ids=["the test itself fails", "another gate fails"],
)
def test_a_test_that_fails_stores_nothing(pytester: pytest.Pytester, test: str) -> None:
    pytester.makepyfile(gates("w8a8", test))
    result = run(pytester, "--quantguard-update=new")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["baseline not written: *word-problems.json: *"])
    assert stored(pytester) == []


def test_what_passes_is_stored_beside_what_is_measured(pytester: pytest.Pytester) -> None:
    markers = "accuracy(tol=0.5, subset=16); layerwise(); memory(max_ratio=0.9); reasoning(max_truncation=0.9)"
    pytester.makepyfile(gates("w8a8", f"test_release | {markers}"))
    run(pytester, "--quantguard-update=new").assert_outcomes(passed=1)
    assert stored(pytester) == [f"cpu/tiny-reasoner/w8a8/{name}.json" for name in ("layers", "word-problems")]
    # An update that finds a baseline of no use measures it, and everything beside it is judged on what it measured.
    (pytester.path / FOLDER / "w8a8/word-problems.json").write_text("{")
    run(pytester, "--quantguard-update=changed").assert_outcomes(passed=1)
    assert len(baselines.read(pytester.path / FOLDER / "w8a8/word-problems.json").items) == 16


def test_a_full_disk_is_an_error_beside_the_verdicts_and_other_gates_go_on(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = "test_a_first | accuracy(tol=0.5, subset=16)", "test_b_second | accuracy(tol=0.5, subset=16, mode='no_think')"
    pytester.makepyfile(gates("w8a8", *one))
    write_all = baselines.write_all

    def full_at_first(pending: Any) -> None:
        if any("no_think" not in str(path) for path in pending):
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(pending)

    monkeypatch.setattr(baseline_writer, "write_all", full_at_first)
    result = run(pytester, "--quantguard-update=new")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*MEASURED*",
            "baseline written: *word-problems--no_think.json",
            "ERROR quantguard: baseline not written: *word-problems.json: No space left on device. Make room*",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert stored(pytester) == ["cpu/tiny-reasoner/w8a8/word-problems--no_think.json"]


SMALL, LARGE = "test_smoke | accuracy(tol=0.5, subset=16)", "test_whole | accuracy(tol=0.5, subset=24)"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("tests", [(SMALL, LARGE), (LARGE, SMALL)], ids=["smaller first", "larger first"])
def test_gates_of_nested_draws_share_the_larger_baseline(pytester: pytest.Pytester, tests: tuple[str, str]) -> None:
    pytester.makepyfile(gates("w8a8", *tests))
    path = pytester.path / FOLDER / "w8a8/word-problems.json"
    for update in ("new", "all", "changed"):
        assert run(pytester, f"--quantguard-update={update}").ret in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
        assert len(baselines.read(path).items) == 24, update
    result = run(pytester)
    result.assert_outcomes(passed=2)
    shown = result.stdout.str()
    assert " of 16 items" in shown
    assert " of 24 items" in shown
    before = path.read_bytes()
    for update in ("new", "changed", "all"):
        run(pytester, f"--quantguard-update={update}", "-k", "smoke")
        assert path.read_bytes() == before, update


def test_what_a_smaller_gate_measures_for_a_larger_one_is_not_judged_by_its_own_tolerance(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(gates("w8a8", SMALL, LARGE))
    run(pytester, "--quantguard-update=new")
    path = pytester.path / FOLDER / "w8a8/word-problems.json"
    alone = ("--quantguard-update=all", "-k", "smoke")
    result = run(pytester, *alone)
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*INCONCLUSIVE*", "*not accepted as a baseline*4.5 points*", "*all 24 items of the*"])
    run(pytester, *alone, "--quantguard-accept-regression=meant").stdout.fnmatch_lines(
        ["*MEASURED*", "baseline unchanged: *"]
    )
    assert len(baselines.read(path).items) == 24


def test_an_undecided_measurement_is_refused_whatever_undecided_gates_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(gates("w8a8", "test_release | accuracy(tol=0.045, subset=16); layerwise()"))
    result = run(pytester, "--quantguard-update=new", "--quantguard-inconclusive=warn")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*INCONCLUSIVE*", "*not accepted as a baseline*", "baseline not written: *layers.json*"]
    )
    assert stored(pytester) == []


def test_in_an_update_the_gate_that_asks_most_measures_first(pytester: pytest.Pytester) -> None:
    tests = ("test_a | accuracy(tol=0.5, subset=16)", "test_b | accuracy(tol=0.3, subset=24)", "test_c | layerwise()")
    pytester.makepyfile(gates("w8a8", *tests, "test_d | accuracy(subset=24)", "test_e | accuracy(rtol=0.2)"))
    collected = ("--collect-only", "-q")
    order = [line[-6:] for line in run(pytester, *collected, "--quantguard-update=new").stdout.lines if "::" in line]
    assert order == ["test_e", "test_d", "test_b", "test_a", "test_c"]
    order = [line[-6:] for line in run(pytester, *collected).stdout.lines if "::" in line]
    assert order == ["test_a", "test_b", "test_c", "test_d", "test_e"]


def test_a_gate_without_a_subset_says_where_its_baseline_is_small_and_an_update_makes_it_whole(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(gates("w8a8", SMALL))
    run(pytester, "--quantguard-update=new")
    path = pytester.path / FOLDER / "w8a8/word-problems.json"
    pytester.makepyfile(gates("w8a8", "test_whole | accuracy(benchmark='word-problems', tol=0.5)"))
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*the baseline has 16 items, and 300 are usual for word-problems*"])
    run(pytester, "--quantguard-update=new").stdout.fnmatch_lines(["baseline written: *"])
    assert len(baselines.read(path).items) == 300


def test_among_workers_the_larger_of_two_draws_stays(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(gates("w8a8", SMALL, LARGE))
    result = pytester.runpytest_subprocess("--quantguard", "--quantguard-update=all", "-n", "2")
    result.stdout.fnmatch_lines(["quantguard: 2 MEASURED"])
    assert len(baselines.read(pytester.path / FOLDER / "w8a8/word-problems.json").items) == 24


def write_recipe(folder: pathlib.Path, num_bits: int) -> None:
    folder.mkdir()
    recipe = f'description = "A recipe."\n[weights]\nnum_bits = {num_bits}\nstrategy = "channel"\n'
    (folder / "mine.toml").write_text(recipe)


def test_what_shares_a_place_and_not_the_run_is_an_error_that_names_both_tests(pytester: pytest.Pytester) -> None:
    for bits in (8, 7):
        write_recipe(pytester.path / f"of{bits}", bits)
    text = gates("of8/mine.toml", "test_a_first | accuracy(tol=0.5, subset=16)")
    pytester.makepyfile(
        test_a=text, test_b=text.replace("of8/", "of7/").replace("test_a_first", "test_b_second"), conftest=""
    )
    result = run(pytester, "--quantguard-update=all")
    result.assert_outcomes(skipped=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*test_b.py::test_b_second and test_a.py::test_a_first share the baseline *mine/word-problems.json*recipe is*"]
    )
    result.stdout.fnmatch_lines(["baseline written: *"])


def test_a_baseline_of_another_draw_is_not_made_smaller(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(gates("w8a8", "test_whole | accuracy(tol=0.5, subset=24)"))
    run(pytester, "--quantguard-update=new")
    path = pytester.path / FOLDER / "w8a8/word-problems.json"
    # As one would be that was accepted from a record with another seed.
    found = baselines.read(path)
    baselines.write(path, dataclasses.replace(found, items=found.items[1:]))
    pytester.makepyfile(gates("w8a8", "test_smoke | accuracy(tol=0.5, subset=16)"))
    before = path.read_bytes()
    for update in ([], ["--quantguard-update=all"]):
        result = run(pytester, *update)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*has 23 items of another draw, and some of subset=16 are not among them*"])
        assert path.read_bytes() == before
