"""Gates in a file: the same verdicts as from a test, and an error with its line for what cannot be meant."""

import pathlib
import textwrap

import pytest

from tests.support.gate_runs import copy_baselines, run

pytestmark = pytest.mark.usefixtures("shared_models")

GOOD = """
# Our release.
[[gate]]
name = "release"
model = "tiny-reasoner"
recipe = "w8a8"
accuracy = { tol = 0.045 }
memory = { max_ratio = 0.6 }

[[gate]]
name = "careless"
model = "tiny-reasoner"
recipe = "w3a16"

[gate.accuracy]
tol = 0.045
against = "reference"
"""
RELEASE = GOOD.partition('[[gate]]\nname = "careless"')[0]


def write(pytester: pytest.Pytester, text: str, name: str = "quantguard.toml") -> pathlib.Path:
    path: pathlib.Path = pytester.path / name
    path.write_text(textwrap.dedent(text))
    return path


@pytest.mark.parametrize("name", ["quantguard.toml", "pyproject.toml"])
def test_gates_of_a_file_are_run_and_named(pytester: pytest.Pytester, name: str) -> None:
    copy_baselines(pytester)
    text = GOOD if name == "quantguard.toml" else GOOD.replace("[[gate]]", "[[tool.quantguard.gate]]")
    write(
        pytester,
        text.replace("[gate.accuracy]", "[tool.quantguard.gate.accuracy]" if "py" in name else "[gate.accuracy]"),
        name,
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            f"{name}::release",
            "*PASS*accuracy: word-problems on tiny-reasoner, w8a8 (cpu)",
            "*PASS*memory: weights on tiny-reasoner, w8a8 (cpu)",
            f"{name}::careless",
            "*REGRESSED*accuracy: word-problems on tiny-reasoner, w3a16 (cpu)",
        ]
    )


def test_the_roots_file_is_found_beside_the_tests_and_only_with_gates(pytester: pytest.Pytester) -> None:
    copy_baselines(pytester)
    write(pytester, GOOD.partition('[[gate]]\nname = "careless"')[0])
    pytester.makeini("[pytest]\ntestpaths = tests")
    pytester.mkdir("tests").joinpath("test_a.py").write_text("def test_a(): pass")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)
    result = run(pytester)
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(["quantguard.toml::release"])
    run(pytester, "tests").assert_outcomes(deselected=1)


def test_a_project_file_without_gates_is_left_alone(pytester: pytest.Pytester) -> None:
    write(pytester, '[project]\nname = "x"\nversion = "1"\n', "pyproject.toml")
    write(pytester, RELEASE)
    copy_baselines(pytester)
    result = run(pytester, "--quantguard-limit=80", "--quantguard-inconclusive=warn")
    result.assert_outcomes(passed=1)
    assert "not found" not in result.stdout.str()


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("recipe = ", "recipy = ", "*quantguard.toml:6: unknown key 'recipy'. Did you mean 'recipe'?*"),
        ("tol = 0.045 }", "tol = 4.5 }", "*quantguard.toml:7: *for 4.5 points write tol=0.045*"),
        ("max_ratio", "max_ration", "*quantguard.toml:8: memory(max_ration=*): unknown keyword*"),
        ("{ max_ratio = 0.6 }", "0.6", "*quantguard.toml:8: memory is a table such as { tol = 0.1 }, not 0.6*"),
        ('"tiny-reasoner"', "7", "*quantguard.toml:5: model is text, not 7*"),
        ('model = "tiny-reasoner"\n', "", "*quantguard.toml:3: model is missing*"),
        ('"careless"', '"release"', "*quantguard.toml:11: two gates are called 'release'*"),
        ("[[gate]]", "[[gates]]", "*quantguard.toml:3: unknown key 'gates'. Did you mean 'gate'?*"),
        ("accuracy = { tol = 0.045 }\nmemory = { max_ratio = 0.6 }\n", "", "*quantguard.toml:3: it asks for nothing*"),
        ("tol = 0.045 }", "tol = 0.045", "*quantguard.toml holds no gates: it is no TOML: *line 7*"),
    ],
    ids=["key", "points", "keyword", "table", "type", "missing", "twice", "head", "nothing", "syntax"],
)
def test_what_cannot_be_meant_is_an_error_with_its_line(
    pytester: pytest.Pytester, wrong: str, right: str, message: str
) -> None:
    write(pytester, GOOD.replace(wrong, right) if wrong == "[[gate]]" else GOOD.replace(wrong, right, 1))
    result = run(pytester)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([message])


def test_an_empty_file_is_no_success(pytester: pytest.Pytester) -> None:
    write(pytester, "")
    result = run(pytester)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*quantguard.toml holds no gates: each begins with *"])


def test_a_gate_on_an_npu_takes_the_process_s_own(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        GOOD.partition('[[gate]]\nname = "careless"')[0].replace('recipe = "w8a8"', 'recipe = "w8a8"\ndevice = "npu"'),
    )
    result = run(pytester)
    result.assert_outcomes(skipped=1)
    assert result.ret != pytest.ExitCode.OK
    copy_baselines(pytester)
    result = run(pytester, "--npu=emulated", "--quantguard-limit=16", "--quantguard-inconclusive=warn")
    result.stdout.fnmatch_lines(["*accuracy: word-problems on tiny-reasoner, w8a8 (emulated-910b)"])


def test_a_run_that_names_folders_says_which_gates_of_the_root_it_leaves_out(pytester: pytest.Pytester) -> None:
    write(pytester, RELEASE)
    pytester.mkdir("tests").joinpath("test_a.py").write_text("def test_a(guard): pass")
    left_out = (
        "quantguard: the gates of quantguard.toml in the root folder were not run*pytest --quantguard {} quantguard*"
    )
    for named in (["tests"], ["tests/test_a.py::test_a"]):
        result = run(pytester, "--collect-only", *named)
        result.stdout.fnmatch_lines([left_out.format(named[0])])
    for named in ([], ["."], ["tests", "quantguard.toml"], ["quantguard.toml::release"]):
        result = run(pytester, "--collect-only", *named)
        result.stdout.fnmatch_lines(["*release*"])
        result.stdout.no_fnmatch_line("*were not run*")


TWO = """
[[gate]]
name = "smoke"
model = "{model}"
accuracy = {{ tol = 0.3, subset = 40 }}

[[gate]]
name = "whole"
model = "{other}"
{more}
accuracy = {{ tol = 0.045 }}
"""


def test_gates_of_nested_draws_may_share_a_baseline_in_a_file(pytester: pytest.Pytester) -> None:
    write(pytester, TWO.format(model="tiny-reasoner", other="tiny-reasoner", more=""))
    assert run(pytester, "--collect-only").ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("model", "other", "more", "told"),
    [
        ("a/m", "b/m", "", "model is */b/m and */a/m"),
        ("m", "m", 'engine = "replay"\n', None),
        ("tiny-reasoner", "tiny-reasoner", 'reference = "b/m"\n', None),
    ],
    ids=["two folders of one name", "another platform", "a reference that the other does not name"],
)
def test_what_cannot_share_a_baseline_is_an_error_at_collection_that_names_both(
    pytester: pytest.Pytester, model: str, other: str, more: str, told: str | None
) -> None:
    for folder in ("a/m", "b/m"):
        (pytester.path / folder).mkdir(parents=True)
    write(pytester, TWO.format(model=model, other=other, more=more))
    result = run(pytester, "--collect-only")
    if told is None:
        assert result.ret == pytest.ExitCode.OK
        return
    assert result.ret == pytest.ExitCode.INTERRUPTED
    names = "quantguard.toml::whole and quantguard.toml::smoke share one baseline, word-problems"
    result.stdout.fnmatch_lines([f"*quantguard.toml:8: {names}, and are not of the same run: {told}*"])


def test_two_references_of_one_baseline_are_an_error_at_collection(pytester: pytest.Pytester) -> None:
    text = TWO.format(model="m", other="m", more='reference = "f2"\nengine = "replay"')
    write(pytester, text.replace('"smoke"\n', '"smoke"\nreference = "f1"\nengine = "replay"\n'))
    result = run(pytester, "--collect-only")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*quantguard.toml::whole and quantguard.toml::smoke*reference is f2 and f1*"])
