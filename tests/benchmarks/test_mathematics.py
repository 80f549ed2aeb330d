"""GSM8K, MATH-500 and AIME: their rows are the ones that scores belong to, and equal mathematics is told from other."""

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import random
import types
from typing import Any

import pytest

from quantguard import registry
from quantguard.benchmarks import Benchmark, _files, choose_subset
from quantguard.errors import DataError, MeasurementError
from quantguard.records import Generation, Sample
from quantguard.scorers import _verifying, math
from quantguard.scorers._answers import last_boxed

# A process that may hang scores.
pytestmark = pytest.mark.timeout(300)

FOLDER = os.environ.get(_files.VARIABLE)
NAMES = {"gsm8k": 1319, "math-500": 500, "aime-120": 120}
needs_data = pytest.mark.skipif(FOLDER is None, reason=f"needs the benchmarks' files: export {_files.VARIABLE}=FOLDER")


def pairs(section: str) -> list[tuple[str, str]]:
    text = pathlib.Path(__file__).with_name("math_pairs.txt").read_text(encoding="utf-8")
    sections = {"equal": text.partition("[equal]\n")[2].partition("[different]\n")[0]}
    sections["different"] = text.partition("[different]\n")[2]
    lines = [line for line in sections[section].splitlines() if line.strip()]
    return [(answer, target) for answer, _, target in (line.partition(" ; ") for line in lines)]


def judged(text: str, target: str, *, finish_reason: str = "stop") -> tuple[float | None, str]:
    generation = Generation(sample_id="a", epoch=0, text=text, num_tokens=5, finish_reason=finish_reason)  # type: ignore[arg-type]
    score = math.score(Sample(id="a", input="?", target=target), generation)
    return score.value, score.explanation


def test_the_pairs_are_at_least_two_hundred() -> None:
    assert len(pairs("equal")) + len(pairs("different")) >= 200


def test_equal_answers_are_equal() -> None:
    assert [pair for pair in pairs("equal") if math.compare(*pair)[0] != 1.0] == []


def test_different_answers_are_different() -> None:
    assert [pair for pair in pairs("different") if math.compare(*pair)[0] != 0.0] == []


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        pytest.param(r"<think>\boxed{3}</think>\boxed{\frac12}", "0.5", (1.0, "math-verify"), id="after thinking"),
        pytest.param(r"so \boxed{7}", "7", (1.0, "exact"), id="the same number"),
        pytest.param(r"\boxed{5} or \boxed{6}", "5", (0.0, "math-verify"), id="the last box counts"),
        pytest.param("the answer is 3 or 5", "3", (0.0, "unparsed"), id="no box"),
        pytest.param(r"<think>\boxed{3}", "3", (0.0, "unparsed"), id="a box in unfinished thinking"),
        pytest.param(r"\boxed{2516_7}", "2516_8", (0.0, "exact"), id="another base"),
    ],
)
def test_the_rule_that_fired_is_kept(text: str, target: str, expected: tuple[float, str]) -> None:
    assert judged(text, target) == expected
    assert judged(text, target, finish_reason="length") == (0.0, "truncated")


def plant_in_worker(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker do something else to an answer that reads "planted"."""
    work = _verifying._WORK.replace("json.dumps(same", f"'planted' in line and {fault} or json.dumps(same")
    assert work != _verifying._WORK
    monkeypatch.setattr(_verifying, "_WORK", work)


def test_an_answer_that_keeps_math_verify_busy_is_wrong_and_the_next_one_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant_in_worker("__import__('time').sleep(60)", monkeypatch)
    monkeypatch.setattr(_verifying, "_SECONDS", 2)
    _verifying._worker.cache_clear()
    assert math.compare("planted", "3") == (0.0, "timeout")
    assert math.compare(r"\frac12", "0.5") == (1.0, "math-verify")
    _verifying._worker.cache_clear()


def test_an_answer_that_math_verify_dies_of_is_wrong_and_the_next_one_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant_in_worker("__import__('os').abort()", monkeypatch)
    _verifying._worker.cache_clear()
    assert math.compare("planted", "3") == (0.0, "timeout")
    assert math.compare(r"\frac12", "0.5") == (1.0, "math-verify")
    _verifying._worker.cache_clear()


@pytest.mark.parametrize(
    ("work", "version", "complaint"),
    [
        pytest.param("raise SystemExit", _verifying.MATH_VERIFY, "does not start", id="it does not start"),
        pytest.param("print('unfit')", _verifying.MATH_VERIFY, "does not start", id="it is wrong on a known pair"),
        pytest.param("", "0.8.0", "here it is 0.8.0", id="another version"),
    ],
)
def test_a_math_verify_that_is_not_the_right_one_raises(
    work: str, version: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_verifying, "_WORK", work)
    monkeypatch.setattr(_verifying, "MATH_VERIFY", _verifying.MATH_VERIFY)
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: version)
    _verifying._worker.cache_clear()
    with pytest.raises(MeasurementError, match=complaint):
        math.compare("a", "b")
    _verifying._worker.cache_clear()


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_the_rows_are_all_there(name: str) -> None:
    data: Benchmark = registry.benchmarks[name].load()
    assert len(data.samples) == NAMES[name]
    assert all(sample.target for sample in data.samples)
    assert data.prompt(data.samples[0]).endswith(r"put your final answer within \boxed{}.")
    subset = choose_subset(data, 60, seed=0)
    assert subset != data.samples[:60]
    assert data.stratum is not None
    for value in {sample.metadata[data.stratum] for sample in data.samples}:
        share, whole = (sum(s.metadata[data.stratum] == value for s in group) for group in (subset, data.samples))
        assert abs(share - 60 * whole / len(data.samples)) < 1


@needs_data
def test_golds_agree_with_their_own_solutions_and_with_no_other() -> None:
    assert FOLDER is not None
    rows = [json.loads(line) for line in pathlib.Path(FOLDER, "math500/test.jsonl").read_text().splitlines()]
    boxes = [last_boxed(row["solution"]) for row in rows]
    assert [
        row["answer"] for row, box in zip(rows, boxes, strict=True) if not math.compare(str(box), row["answer"])[0]
    ] == []
    drawn = random.Random(0)
    others = [(a["answer"], b["answer"]) for a, b in (drawn.sample(rows, 2) for _ in range(300))]
    assert [pair for pair in others if pair[0] != pair[1] and math.compare(*pair)[0]] == []


ROWS = [{"question": f"{n} + {n}?", "answer": f"<<{n}+{n}={2 * n}>>#### {2 * n}"} for n in range(5)]


def plant(folder: pathlib.Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Put rows where GSM8K's are looked for; the pinned hash is that of ROWS."""
    path = folder / "gsm8k/test.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    module = registry.benchmarks["gsm8k"]
    monkeypatch.setenv(_files.VARIABLE, str(folder))
    monkeypatch.setattr(module, "ORIGIN", dataclasses.replace(module.ORIGIN, sha256=_files.content_hash(ROWS)))
    return module


def test_rows_may_come_in_another_order_and_with_more_fields(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = plant(tmp_path, [row | {"more": 1} for row in reversed(ROWS)], monkeypatch)
    data = module.load()
    assert {sample.target for sample in data.samples} == {"0", "2", "4", "6", "8"}
    assert module.missing() == []


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        pytest.param([*ROWS[1:], {"question": "0 + 0?", "answer": "#### 1"}], "not the set that scores", id="changed"),
        pytest.param(ROWS[1:], "has 4 rows", id="one is missing"),
        pytest.param([{"question": "?"}], r"test.jsonl:1 is no JSON object with question, answer", id="a field less"),
    ],
)
def test_other_rows_are_refused(
    rows: list[dict[str, Any]], complaint: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = plant(tmp_path, rows, monkeypatch)
    with pytest.raises(DataError, match=complaint):
        module.load()


@pytest.mark.parametrize("name", NAMES)
def test_without_its_file_a_benchmark_says_where_it_comes_from_and_where_to_put_it(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = registry.benchmarks[name]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for folder in (None, str(tmp_path)):
        monkeypatch.delenv(_files.VARIABLE, raising=False)
        if folder:
            monkeypatch.setenv(_files.VARIABLE, folder)
        with pytest.raises(DataError, match=f"export {_files.VARIABLE}=FOLDER") as caught:
            module.load()
        assert module.ORIGIN.file in str(caught.value)
        assert module.ORIGIN.where in str(caught.value)
        (lack,) = module.missing()
        assert lack.remedy is not None
        assert lack.remedy in str(caught.value)


def test_rows_come_from_the_hub_where_datasets_is_installed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load_dataset(*arguments: str, split: str) -> list[dict[str, Any]]:
        asked.append((*arguments, split))
        return ROWS

    hub = types.SimpleNamespace(load_dataset=load_dataset)
    module = plant(tmp_path, ROWS, monkeypatch)
    monkeypatch.delenv(_files.VARIABLE)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(importlib, "import_module", lambda _name: hub)
    assert len(module.load().samples) == len(ROWS)
    assert asked == [("openai/gsm8k", "main", "test")]

    def offline(*_arguments: str, split: str) -> list[dict[str, Any]]:
        raise ConnectionError(f"no route for {split}")

    hub.load_dataset = offline
    with pytest.raises(DataError, match=r"no route for test\. Type: export QUANTGUARD_DATA=FOLDER, which holds gsm8k"):
        module.load()
