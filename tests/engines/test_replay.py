"""A recorded run answers in the place of its model, and only what it was asked."""

import json
import pathlib
from typing import Any

import pytest

import quantguard
from quantguard.engines import replay
from quantguard.errors import QuantguardError
from quantguard.records.record_file import dump_record, read_record
from quantguard.records.sealed_file import seal, unseal
from tests.support.gate_runs import copy_baselines, run


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("records") / "w8a8.json"
    quantized = quantguard.quantize("tiny-reasoner", recipe="w8a8")
    path.write_text(dump_record(quantguard.evaluate(quantized, subset=100)))
    return path


def edited(recording: pathlib.Path, tmp_path: pathlib.Path, **changes: Any) -> str:
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(seal(unseal(json.loads(recording.read_text())) | changes)))
    return str(path)


def test_it_scores_as_the_run_itself_did(recording: pathlib.Path) -> None:
    original = read_record(recording)
    again = quantguard.evaluate(replay.connect(str(recording), url=None), subset=100)
    assert again.scores == original.scores
    assert again.fingerprint == original.fingerprint
    assert (again.model, again.recipe, again.platform) == ("tiny-reasoner", original.recipe, "cpu")
    assert again.notes[-1] == f"replayed from {recording}"


def test_a_run_of_another_machine_is_gated_against_the_models_own_baseline(
    recording: pathlib.Path, pytester: pytest.Pytester
) -> None:
    copy_baselines(pytester)
    pytester.makepyfile(
        f"import quantguard\n@quantguard.accuracy()\ndef test_a(guard):\n"
        f"    guard.check({str(recording)!r}, engine='replay')"
    )
    result = run(pytester, "--quantguard-limit=100")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PASS*accuracy: word-problems on tiny-reasoner, w8a8 (cpu)"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subset": 101}, "has no answer to 1 of 101 requests"),
        ({"subset": 50, "max_new_tokens": 9}, "was decoded by .*max_new_tokens=224.* is asked for"),
        ({"subset": 50, "mode": "no_think"}, "was decoded by .*mode=None.* is asked for"),
        ({"benchmark": "sums", "subset": 50, "max_new_tokens": 224}, "has no answer to 50 of 50 requests"),
    ],
    ids=["items", "limit", "mode", "benchmark"],
)
def test_what_was_not_asked_is_not_answered(recording: pathlib.Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(QuantguardError, match=message):
        quantguard.evaluate(replay.connect(str(recording), url=None), **settings)


def test_what_is_no_record_is_refused(recording: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for changes, message in (
        ({"generations": []}, "no generated answers"),
        ({"benchmark": "sums"}, "another version of sums"),
        ({"modell": 1}, "unknown key 'modell'"),
    ):
        with pytest.raises(QuantguardError, match=message):
            replay.connect(edited(recording, tmp_path, **changes), url=None)
    with pytest.raises(QuantguardError, match="is no record: it is not there"):
        replay.connect(str(tmp_path / "nothing.json"), url=None)
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(QuantguardError, match="is no record"):
        replay.connect(str(tmp_path / "text.json"), url=None)
    with pytest.raises(QuantguardError, match="leave endpoint and tokenizer out"):
        replay.connect(str(recording), url="http://localhost/v1")
