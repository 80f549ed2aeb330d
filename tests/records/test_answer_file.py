"""Many processes write one file of answers, some of them are killed, and nothing that was committed is lost."""

import contextlib
import datetime as dt
import multiprocessing
import os
import pathlib
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from quantguard.errors import MeasurementError
from quantguard.records import Generation
from quantguard.records.answer_file import NAME, AnswerFile

pytestmark = pytest.mark.timeout(120, func_only=True)

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
# Children of this process, which has imported everything, begin at once.
FORK = multiprocessing.get_context("fork")


def answer(number: int, text: str = "x") -> Generation:
    return Generation(sample_id=f"i{number}", epoch=0, text=text, num_tokens=1, finish_reason="stop")


@contextlib.contextmanager
def started(target: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    process = FORK.Process(target=target, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "generations" / NAME


def answers(path: pathlib.Path, run: str = "r") -> dict[str, Generation]:
    with AnswerFile(path) as file:
        return file.answers(run)


@pytest.mark.parametrize(
    "text",
    ["", "\0", "half of a character \ud800", "ü\n'\"", "x" * 100_000],
    ids=["empty", "a zero", "half of a character", "quotes", "long"],
)
def test_an_answer_comes_back_as_it_was_given(path: pathlib.Path, text: str) -> None:
    with AnswerFile(path) as file:
        file.begin("r", NOW, {"model": text})
        file.put("r", "q", answer(1, text))
    with AnswerFile(path) as file:
        assert (file.began("r"), file.answers("r")) == (NOW, {"q": answer(1, text)})
        assert (file.began("other"), file.answers("other")) == (None, {})
    assert [entry.name for entry in path.parent.iterdir() if entry.name.startswith(NAME)] == [NAME]


def test_a_run_that_begins_anew_or_is_dropped_leaves_the_others(path: pathlib.Path) -> None:
    with AnswerFile(path) as file:
        for run in ("a", "b", "c"):
            file.begin(run, NOW, {})
            file.put(run, "q", answer(1))
        file.begin("a", NOW + dt.timedelta(days=1), {})
        file.drop("b")
    with AnswerFile(path) as file:
        assert [len(file.answers(run)) for run in ("a", "b", "c")] == [0, 0, 1]
        assert [file.began(run) for run in ("a", "b")] == [NOW + dt.timedelta(days=1), None]


def test_the_answers_of_runs_that_go_on_are_counted(path: pathlib.Path) -> None:
    with AnswerFile(path) as file:
        file.put("old", "q", answer(1))
        file.put("going on", "q", answer(1))
        time.sleep(0.01)
        now = time.time()
        file.put("going on", "p", answer(2))
        assert (file.count_of_runs_since(now), file.count_of_runs_since(0.0)) == (2, 3)


def do(path: pathlib.Path, operations: list[tuple[str, str, int]], prefix: str) -> None:
    """Do what a process is told, in runs of its own."""
    with AnswerFile(path) as file:
        for name, run, number in operations:
            if name == "put":
                file.put(prefix + run, f"q{number}", answer(number))
            elif name == "begin":
                file.begin(prefix + run, NOW, {})
            else:
                file.drop(prefix + run)


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put"] * 6 + ["begin", "drop"]), st.sampled_from("ab"), st.integers(0, 9)), max_size=40
)


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(mine=OPERATIONS, theirs=OPERATIONS)
def test_two_processes_that_write_at_once_each_find_what_they_wrote(
    tmp_path_factory: pytest.TempPathFactory, mine: list[tuple[str, str, int]], theirs: list[tuple[str, str, int]]
) -> None:
    path = tmp_path_factory.mktemp("shared") / NAME
    with started(do, path, theirs, "their ") as process:
        do(path, mine, "my ")
        process.join()
        assert process.exitcode == 0
    for prefix, operations in (("my ", mine), ("their ", theirs)):
        expected: dict[str, dict[str, Generation]] = {"a": {}, "b": {}}
        for name, run, number in operations:
            if name == "put":
                expected[run][f"q{number}"] = answer(number)
            else:
                expected[run].clear()
        assert {run: answers(path, prefix + run) for run in "ab"} == expected


def write_on(path: pathlib.Path, said: int, first: str = "") -> None:
    """Write answers for ever, and say of each that it is written."""
    with AnswerFile(path) as file:
        if first:
            file._connection.execute(first)
        for number in range(10**9):
            file.put("r", f"q{number}", answer(number, "x" * 3000))
            os.write(said, f"{number}\n".encode())


def killed_in_the_middle(path: pathlib.Path, seconds: float, first: str = "") -> tuple[int, dict[str, Generation]]:
    """Kill a writer; return how many answers it said were written, and those that are."""
    reader, writer = os.pipe()
    with started(write_on, path, writer, first) as process:
        os.close(writer)
        told = os.read(reader, 1)
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    while chunk := os.read(reader, 1 << 16):
        told += chunk
    os.close(reader)
    return told.count(b"\n"), answers(path)


def test_a_writer_that_is_killed_loses_nothing_that_was_committed(tmp_path: pathlib.Path) -> None:
    rng = random.Random(0)
    for turn in range(8):
        num_told, found = killed_in_the_middle(tmp_path / str(turn) / NAME, rng.uniform(0.0, 0.05))
        # The last one may have been written and not yet told of.
        assert num_told <= len(found) <= num_told + 1
        assert found == {f"q{number}": answer(number, "x" * 3000) for number in range(len(found))}


def test_a_writer_that_tells_of_answers_before_they_are_committed_is_caught(path: pathlib.Path) -> None:
    num_told, found = killed_in_the_middle(path, 0.02, first="BEGIN")
    assert num_told > 0
    assert not found


def crash_within_a_write(path: pathlib.Path) -> None:
    file = AnswerFile(path)
    file.put("r", "whole", answer(1))
    file._connection.execute("PRAGMA cache_size = 1")
    file._connection.execute("BEGIN IMMEDIATE")
    for number in range(50):
        # So much that some of it is on the disk before it is committed.
        file.put("r", f"half {number}", answer(number, "x" * 50_000))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_crash_within_a_write_leaves_what_was_there_and_no_lock(path: pathlib.Path) -> None:
    with started(crash_within_a_write, path) as process:
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert path.with_name(f"{NAME}-wal").stat().st_size > 50_000
    began = time.monotonic()
    with AnswerFile(path) as file:
        file.put("r", "next", answer(2))
    assert time.monotonic() - began < 30
    assert answers(path) == {"whole": answer(1), "next": answer(2)}


def test_a_file_that_stays_locked_is_waited_for_and_then_told(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantguard.records.answer_file._LOCK_SECONDS", 0.2)
    with AnswerFile(path) as file, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OSError, match=f"database is locked: {path}"):
            file.put("r", "q", answer(1))
        other.execute("ROLLBACK")
        file.put("r", "q", answer(1))
    assert answers(path) == {"q": answer(1)}


def test_what_is_no_such_file_or_of_another_version_says_what_to_type(path: pathlib.Path) -> None:
    path.parent.mkdir()
    path.write_text("no database at all, but long enough to be read as the head of one" * 9)
    with pytest.raises(MeasurementError, match=rf"are damaged: file is not a database. Type: rm -r '{path}'\*"):
        AnswerFile(path)
    path.unlink()
    with AnswerFile(path) as file:
        file._connection.execute("PRAGMA user_version = 7")
    with pytest.raises(MeasurementError, match="are of version 7, and this quantguard reads 1"):
        AnswerFile(path)


def test_a_row_that_was_put_under_another_run_is_damage(path: pathlib.Path) -> None:
    with AnswerFile(path) as file:
        file.put("r", "q", answer(1))
        file._connection.execute("UPDATE answers SET run = 's'")
        with pytest.raises(MeasurementError, match="a row is of another run"):
            file.answers("s")
