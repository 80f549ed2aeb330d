"""GSM8K, MATH-500 and AIME: their rows are those that scores belong to, and the rule that scored an answer is kept."""

import dataclasses
import importlib
import importlib.util
import json
import os
import pathlib
import types
from typing import Any

import pytest

from quantguard import benchmarks
from quantguard.benchmarks import Benchmark, _data_files, choose_subset, gsm8k
from quantguard.errors import DataError
from quantguard.records import Generation, Sample
from quantguard.scorers import math
from quantguard.scorers._answers import last_boxed

# A process that may hang scores.
pytestmark = pytest.mark.timeout(300)

FOLDER = os.environ.get(_data_files.VARIABLE)
NAMES = {"gsm8k": 1319, "math-500": 500, "aime-120": 120}
needs_data = pytest.mark.skipif(
    FOLDER is None, reason=f"needs the benchmarks' files: export {_data_files.VARIABLE}=FOLDER"
)


def judged(text: str, target: str, *, finish_reason: str = "stop") -> tuple[float | None, str]:
    generation = Generation(sample_id="a", epoch=0, text=text, num_tokens=5, finish_reason=finish_reason)  # type: ignore[arg-type]
    score = math.score(Sample(id="a", input="?", target=target), generation)
    return score.value, score.explanation


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        pytest.param(r"<think>\boxed{3}</think>\boxed{\frac12}", "0.5", (1.0, "mathematics"), id="after thinking"),
        pytest.param(r"so \boxed{7}", "7", (1.0, "exact"), id="the same text"),
        pytest.param(r"\boxed{7.0}", "7", (1.0, "mathematics"), id="the same number"),
        pytest.param(r"\boxed{5} or \boxed{6}", "5", (0.0, "mathematics"), id="the last box counts"),
        pytest.param("the answer is 3 or 5", "3", (0.0, "unparsed"), id="no box"),
        pytest.param(r"<think>\boxed{3}", "3", (0.0, "unparsed"), id="a box in unfinished thinking"),
        pytest.param(r"\boxed{2516_7}", "2516_8", (0.0, "mathematics"), id="another base"),
        pytest.param(r"\boxed{}", "3", (0.0, "unparsed"), id="an empty box"),
        pytest.param(r"\boxed{3}, no: \boxed{4", "3", (0.0, "unparsed"), id="a last box that is not closed"),
        pytest.param(r"\boxed{\frac{3}}", "3", (0.0, "unparsed"), id="half a fraction"),
        pytest.param(r"\boxed{3/0}", "3", (0.0, "unparsed"), id="no value"),
        pytest.param(r"\boxed{3 3}", "33", (0.0, "unparsed"), id="two numbers"),
        pytest.param(r"\boxed{3\text{ or maybe more}}", "3", (0.0, "unparsed"), id="words that are no unit"),
        pytest.param(r"\boxed{\text{Carla}}", "3", (0.0, "mathematics"), id="a word for a number"),
    ],
)
def test_the_rule_that_fired_is_kept(text: str, target: str, expected: tuple[float, str]) -> None:
    assert judged(text, target) == expected
    assert judged(text, target, finish_reason="length") == (0.0, "truncated")


def test_a_target_that_cannot_be_read_is_an_error() -> None:
    for target in (r"\frac{1}{0}", r"\sum_k k", "1/2x", ""):
        with pytest.raises(DataError, match="cannot be read as mathematics"):
            math.compare("5", target)


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_the_rows_are_all_there(name: str) -> None:
    data: Benchmark = benchmarks.members[name].load()
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
def test_golds_agree_with_their_own_solutions() -> None:
    assert FOLDER is not None
    rows = [json.loads(line) for line in pathlib.Path(FOLDER, "math500/test.jsonl").read_text().splitlines()]
    boxes = [last_boxed(row["solution"]) for row in rows]
    assert [
        row["answer"] for row, box in zip(rows, boxes, strict=True) if not math.compare(str(box), row["answer"])[0]
    ] == []


ROWS = [{"question": f"{n} + {n}?", "answer": f"<<{n}+{n}={2 * n}>>#### {2 * n}"} for n in range(5)]


def plant(folder: pathlib.Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Put rows where GSM8K's are looked for; the pinned hash is that of ROWS."""
    path = folder / "gsm8k/test.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv(_data_files.VARIABLE, str(folder))
    monkeypatch.setattr(gsm8k, "ORIGIN", dataclasses.replace(gsm8k.ORIGIN, sha256=_data_files.content_hash(ROWS)))
    return gsm8k


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
    module = benchmarks.members.require(name, benchmarks.Downloaded)
    origin = vars(module)["ORIGIN"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for folder in (None, str(tmp_path)):
        monkeypatch.delenv(_data_files.VARIABLE, raising=False)
        if folder:
            monkeypatch.setenv(_data_files.VARIABLE, folder)
        with pytest.raises(DataError, match=f"export {_data_files.VARIABLE}=FOLDER") as caught:
            benchmarks.members[name].load()
        assert origin.file in str(caught.value)
        assert origin.where in str(caught.value)
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
    monkeypatch.delenv(_data_files.VARIABLE)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(importlib, "import_module", lambda _name: hub)
    assert len(module.load().samples) == len(ROWS)
    assert asked == [("openai/gsm8k", "main", "test")]

    def offline(*_arguments: str, split: str) -> list[dict[str, Any]]:
        raise ConnectionError(f"no route for {split}")

    hub.load_dataset = offline
    with pytest.raises(DataError, match=r"no route for test\. Type: export QUANTGUARD_DATA=FOLDER, which holds gsm8k"):
        module.load()
