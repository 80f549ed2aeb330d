"""A baseline file is whole or refused: never half-written, never believed when it was touched."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from quantguard.baselines import Acceptance, Baseline, BaselineItem, baseline_path, dump, read, write
from quantguard.errors import BaselineError
from quantguard.records import Score
from tests.support.fingerprints import fingerprint_of


def score(sample_id: str, value: float) -> Score:
    return Score(
        sample_id=sample_id, epoch=0, value=value, answer="7", explanation="boxed", num_tokens=9, finish_reason="stop"
    )


def baseline(why: str = "test", num_items: int = 3) -> Baseline:
    return Baseline(
        platform="cpu",
        model="m",
        recipe="r",
        benchmark="b",
        fingerprint=fingerprint_of(),
        recorded={"torch": "2"},
        acceptance=Acceptance(by="me", on="2026-01-01", why=why),
        items=tuple(
            BaselineItem(sample_id=f"i{i}", epoch=0, reference=score(f"i{i}", 1.0), accepted=score(f"i{i}", 0.0))
            for i in range(num_items)
        ),
    )


def test_a_baseline_survives_its_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "deep" / "b.json"
    write(path, baseline())
    assert read(path) == baseline()
    assert [file.name for file in path.parent.iterdir()] == ["b.json"]


def test_every_item_is_one_line_and_keys_are_sorted() -> None:
    lines = dump(baseline()).splitlines()
    assert sum('"sample_id": "i' in line for line in lines) == 3
    table = json.loads(dump(baseline()))
    assert list(table["items"][0]) == sorted(table["items"][0])


def test_a_missing_baseline_says_how_to_make_it(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BaselineError, match="pytest --quantguard --quantguard-update=new"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[: len(text) // 2], id="cut in half"),
        pytest.param(lambda _text: "", id="emptied"),
        pytest.param(lambda text: text.replace('"value": 0.0', '"value": 1.0', 1), id="an outcome edited"),
        pytest.param(lambda text: text.replace('"cpu"', '"npu"'), id="the platform edited"),
        pytest.param(lambda _text: "[]", id="another JSON"),
        pytest.param(lambda text: text.replace('"sha256"', '"sha"'), id="the hash removed"),
        pytest.param(lambda text: "<<<<<<< HEAD\n" + text, id="a merge conflict"),
    ],
)
def test_a_damaged_baseline_is_refused_with_what_mends_it(tmp_path: pathlib.Path, damage: object) -> None:
    assert callable(damage)
    path = tmp_path / "b.json"
    path.write_text(damage(dump(baseline())))
    with pytest.raises(BaselineError, match="--quantguard-update"):
        read(path)


@hypothesis.given(position=st.integers(0, 10**6), byte=st.integers(0, 255))
@hypothesis.settings(max_examples=200, deadline=None)
def test_no_changed_byte_goes_unnoticed(position: int, byte: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    original = dump(baseline()).encode()
    damaged = bytearray(original)
    damaged[position % len(original)] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(bytes(damaged))
    try:
        found = read(path)
    except BaselineError:
        return
    # White space between tokens is the one thing that may change.
    assert found == baseline()


def test_names_with_slashes_stay_one_folder() -> None:
    path = baseline_path(pathlib.Path("root"), platform="cpu", model="org/model", recipe="r", benchmark="b@no_think")
    assert path == pathlib.Path("root/cpu/org--model/r/b--no_think.json")


WRITER = """
import pathlib, sys
sys.path.insert(0, sys.argv[2])
from test_store import baseline
from quantguard.baselines import write
path = pathlib.Path(sys.argv[1])
turn = 0
print("ready", flush=True)
while True:
    turn += 1
    write(path, baseline(why=f"turn {turn}", num_items=400))
"""


def test_killing_a_writer_leaves_the_old_file_or_the_new_one(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "b.json"
    rng = random.Random(0)
    for _ in range(8):
        write(path, baseline(why="old", num_items=400))
        command = [sys.executable, "-c", WRITER, str(path), str(pathlib.Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
        assert read(path).acceptance.why.startswith(("old", "turn"))
