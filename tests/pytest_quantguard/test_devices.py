"""One worker, one NPU: shared out before torch_npu loads, from the NPUs that the user listed, and never too few."""

import json

import pytest

from tests.support.fake_npus import FAKE_TORCH_NPU, Machine

# Workers and other processes are waited for.
pytestmark = pytest.mark.timeout(300)

# What the environment said when the worker's first conftest was imported, and what torch_npu made of it.
CONFTEST = """
import os
EARLY = os.environ.get("ASCEND_RT_VISIBLE_DEVICES")
"""
TESTS = """
import json, os, pathlib, time
import pytest
import conftest

@pytest.mark.parametrize("number", range(8))
def test_where_it_runs(npu_device, number):
    import torch
    time.sleep(0.05)
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    found = {"name": npu_device, "early": conftest.EARLY, "ids": torch.npu.ids, "worker": worker}
    pathlib.Path(f"seen-{number}.json").write_text(json.dumps(found))
"""


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"), monkeypatch)


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_npu=TESTS)
    return pytester


def seen(project: pytest.Pytester) -> dict[str, list[int]]:
    """Return which NPUs each worker had, after checking that it knew from its first line on."""
    found = [json.loads(path.read_text()) for path in sorted(project.path.glob("seen-*.json"))]
    assert all(one["name"] == "npu:0" for one in found)
    assert all(one["early"] == ",".join(map(str, one["ids"])) for one in found if one["worker"])
    return {one["worker"]: one["ids"] for one in found}


@pytest.mark.usefixtures("machine")
def test_every_worker_has_an_npu_of_its_own(project: pytest.Pytester) -> None:
    project.runpytest_subprocess("--npu", "-n", "2").assert_outcomes(passed=8)
    assert seen(project) == {"gw0": [0], "gw1": [1]}


def test_workers_share_out_the_npus_that_the_user_listed(
    machine: Machine, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.have(8)
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "5,3")
    project.runpytest_subprocess("--npu", "-n", "2").assert_outcomes(passed=8)
    assert seen(project) == {"gw0": [5], "gw1": [3]}


def test_automatic_workers_are_one_for_each_npu(machine: Machine, project: pytest.Pytester) -> None:
    machine.have(3)
    project.runpytest_subprocess("--npu", "-n", "auto").assert_outcomes(passed=8)
    assert seen(project) == {"gw0": [0], "gw1": [1], "gw2": [2]}


def test_more_workers_than_npus_are_a_usage_error_that_says_what_to_type(
    machine: Machine, project: pytest.Pytester
) -> None:
    del machine
    result = project.runpytest_subprocess("--npu", "-n", "3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*3 workers are asked for, and there are 2 NPUs to use (0, 1); one worker takes one NPU. Type: -n 2, *"]
    )
    assert seen(project) == {}


@pytest.mark.usefixtures("machine")
def test_a_replaced_worker_takes_over_the_npu_of_the_crashed_one(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_crash="""
        import os
        def test_crash(npu_device):
            if os.environ["ASCEND_RT_VISIBLE_DEVICES"] == "1":
                os._exit(1)
        """,
        test_npu=TESTS,
    )
    # The first test of each worker is the one that crashes it, if it has NPU 1.
    result = project.runpytest_subprocess("--npu", "-n", "2", "--dist=each", "test_crash.py", "test_npu.py")
    result.stdout.fnmatch_lines(["*replacing crashed worker gw1*"])
    assert seen(project)["gw2"] == [1]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("options", [[], ["-p", "no:xdist"], ["-n", "0"]], ids=["plain", "no xdist", "no workers"])
def test_without_workers_the_first_npu_is_used(project: pytest.Pytester, options: list[str]) -> None:
    project.runpytest_subprocess("--npu", *options).assert_outcomes(passed=8)
    found = json.loads((project.path / "seen-0.json").read_text())
    assert found == {"name": "npu:0", "early": None, "ids": [0, 1], "worker": None}


@pytest.mark.usefixtures("machine")
def test_without_the_option_tests_on_npus_are_skipped_and_the_environment_is_left_alone(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest_subprocess("-rs", "-n", "3")
    result.assert_outcomes(skipped=8)
    result.stdout.fnmatch_lines(["*needs an Ascend NPU: run pytest with --npu*"])


@pytest.mark.parametrize(
    ("listed", "complaint"),
    [
        ("", "*ASCEND_RT_VISIBLE_DEVICES='' is no list of different NPUs such as 0,1,2*"),
        ("0, 1", "*is no list of different NPUs*"),
        ("0-1", "*is no list of different NPUs*"),
        ("1,1", "*is no list of different NPUs*"),
        ("0,7", "*lists 2 NPUs (0,7) and torch_npu finds 1 of them*"),
    ],
    ids=["empty", "spaces", "range", "twice", "absent"],
)
@pytest.mark.usefixtures("machine")
def test_a_list_that_the_runtime_would_cut_short_is_a_usage_error(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, listed: str, complaint: str
) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", listed)
    result = project.runpytest_subprocess("--npu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([complaint])


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("raise ImportError('libascendcl.so: cannot open')", "*torch_npu does not load: libascendcl.so: cannot open*"),
        ("raise ValueError('odd')", "*ValueError: odd*"),
        ("import os; os.abort()", "*the process was ended by SIGABRT*"),
        ("import os; os.environ['FAKE_NPU_BROKEN'] = '1'", "*nothing can be put on npu:0: Failed to find function*"),
        ("import os; os.environ['FAKE_NPU_WRONG'] = '1'", "*npu:0 adds 1 and 1 to 3*"),
        ("import os; os.environ['FAKE_NPUS'] = '0'", "*finds no Ascend NPU*"),
    ],
    ids=["does not load", "raises", "aborts", "takes no tensor", "computes nonsense", "has none"],
)
def test_an_npu_that_does_not_work_is_a_usage_error(
    machine: Machine, project: pytest.Pytester, fault: str, complaint: str
) -> None:
    machine.plant("torch_npu", fault + "\n" + FAKE_TORCH_NPU)
    result = project.runpytest_subprocess("--npu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([complaint])
    assert seen(project) == {}


@pytest.mark.usefixtures("machine")
def test_workers_on_other_machines_are_a_usage_error(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("--npu", "--dist=load", "--tx=socket=192.0.2.1:8888")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*among workers of this machine only*"])
