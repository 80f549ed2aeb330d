"""Thousands of damaged files: each is a clear error or as good as whole, never a verdict of its own, never a traceback.

A damage that leaves the content as it was, such as white space, has to give what the whole file gives. Where the hash
was made to fit again the file says something else, which may be judged, but not with a traceback.
"""

import dataclasses
import json
import pathlib
import random
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import quantguard
from pytest_quantguard.declared import GateFile
from quantguard import recipes
from quantguard.baselines import (
    Acceptance,
    LayerProfile,
    Noise,
    baseline_from_runs,
    dump,
    noise_path,
    read,
    write,
    write_noise,
)
from quantguard.checkpoints import _native as native
from quantguard.checkpoints._native_writing import NOTE_FILE, FolderWriter, WrittenBlock
from quantguard.cli import __main__ as cli
from quantguard.engines import replay
from quantguard.errors import QuantguardError
from quantguard.gates import EarlierRun, GateResult, accuracy, layerwise
from quantguard.gates.accuracy import planning
from quantguard.pipeline import GenerationStore, RerunStore
from quantguard.pipeline.session import PipelineSession, RunState
from quantguard.records import LayerSketch, RunRecord, Verdict
from quantguard.records.answer_file import NAME
from quantguard.records.candidate import Candidate
from quantguard.records.files import file_sha256, write_whole
from quantguard.records.record_file import dump_record
from quantguard.report import output_files
from quantguard.run_options import RunOptions
from tests.support.file_damages import Damage, of_bytes, of_json, plant
from tests.support.fingerprints import fingerprint_of

NUM_ITEMS = 24
GATE = accuracy.Gate(tol=0.5)
ACCEPTANCE = Acceptance(by="me", on="2026-01-01", why="test")
# What a message tells to type, or to do where there is nothing to type.
ADVICE = re.compile(r"[Tt]ype: |quantguard [a-z]|pytest --quantguard|rm -r|Quantize the model again|Possible|possible")


@dataclasses.dataclass(frozen=True)
class Runs:
    candidate: RunRecord
    reference: RunRecord


@pytest.fixture(scope="module")
def runs() -> Runs:
    model = quantguard.load("tiny-reasoner")
    candidate = quantguard.evaluate(quantguard.quantize(model, recipe="w8a8"), subset=NUM_ITEMS)
    return Runs(candidate, quantguard.evaluate(model, subset=NUM_ITEMS))


def refusal(judge: Callable[[], Any]) -> tuple[str | None, Any]:
    """Return what a reader says against a file, or else what it makes of it."""
    try:
        return None, judge()
    except (QuantguardError, GateFile.CollectError) as error:
        return str(error), None


def judge_all(
    path: pathlib.Path,
    damages: Iterator[Damage],
    judge: Callable[[], Any],
    whole: Any,
    *,
    advice: re.Pattern[str] = ADVICE,
) -> int:
    """Hold every damage against the law; return how many were noticed."""
    num_noticed = 0
    for damage in damages:
        plant(path, damage)
        said, found = refusal(judge)
        if said is None:
            assert damage.resealed or found == whole, damage.name
        else:
            num_noticed += 1
            assert path.name in said, damage.name
            assert advice.search(said), (damage.name, said)
    return num_noticed


def damages_of(content: bytes, *, seed: int, num_bytes: int, num_edits: int) -> Iterator[Damage]:
    rng = random.Random(seed)
    yield from of_bytes(content, rng, num_bytes)
    yield from of_json(content, rng, num_edits)


def test_a_damaged_baseline_never_decides_a_gate(runs: Runs, tmp_path: pathlib.Path) -> None:
    recording = replay.Recording(record=runs.candidate, path="w8a8.json")
    session: Any = PipelineSession(recording, None, RunOptions(baselines=tmp_path), RunState())
    path = pathlib.Path(accuracy.locate_baseline(GATE, session).path)
    write(path, baseline_from_runs(runs.candidate, runs.reference.scores, ACCEPTANCE))

    def judge() -> Any:
        return accuracy.check(GATE, session).verdict

    whole = judge()
    assert whole.outcome == "PASS"
    damages = damages_of(path.read_bytes(), seed=0, num_bytes=300, num_edits=200)
    assert judge_all(path, damages, judge, whole) > 400


def test_damaged_noise_is_no_noise(runs: Runs, tmp_path: pathlib.Path) -> None:
    recording = replay.Recording(record=runs.candidate, path="w8a8.json")
    session: Any = PipelineSession(recording, None, RunOptions(baselines=tmp_path), RunState())
    stored = pathlib.Path(accuracy.locate_baseline(GATE, session).path)
    write(stored, baseline_from_runs(runs.candidate, runs.reference.scores, ACCEPTANCE))
    noise = Noise(num_items=24, num_flips=1, varied="order", on="2026-01-01", fingerprint=runs.candidate.fingerprint)
    write_noise(noise_path(stored), noise)

    whole = planning.known_noise(stored, read(stored))
    assert whole == 1 / 24
    assert any("between two runs of the same model" in note for note in accuracy.check(GATE, session).notes)
    path, baseline = noise_path(stored), read(stored)

    def judge() -> Any:
        return planning.known_noise(stored, baseline)

    damages = damages_of(path.read_bytes(), seed=1, num_bytes=150, num_edits=100)
    assert judge_all(path, damages, judge, whole) > 150


def test_a_damaged_profile_of_layers_never_decides_a_gate(tmp_path: pathlib.Path) -> None:
    layers = tuple(LayerSketch(name=f"layer.{i}", op=None, buckets=(1.0, -2.5, 1e-9 * i)) for i in range(6))
    measured: Any = types.SimpleNamespace(text_sha256="t", sketches=lambda: layers)
    session: Any = types.SimpleNamespace(
        candidate=Candidate(model="m", recipe="r", platform="cpu"),
        options=RunOptions(baselines=tmp_path),
        fingerprint=fingerprint_of,
        measure=lambda _kind, **_: measured,
    )
    gate = layerwise.Gate()
    path = tmp_path / "cpu/m/r/layers.json"
    profile = layerwise._profile(measured, session)
    write(path, profile)
    assert isinstance(profile, LayerProfile)

    def judge() -> Any:
        return layerwise.check(gate, session).verdict

    whole = judge()
    assert whole.outcome == "PASS"
    damages = damages_of(path.read_bytes(), seed=2, num_bytes=200, num_edits=150)
    assert judge_all(path, damages, judge, whole) > 250


class Refused(QuantguardError):  # noqa: N818 - it is none of ours
    """What a command said on standard error when it ended with status 2."""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["quantguard", *arguments])
        status = cli.main()
        shown = capsys.readouterr()
        if status == 2:
            raise Refused(shown.err)
        return status, shown.out

    return run


def test_a_damaged_record_is_neither_compared_nor_replayed(
    runs: Runs, tmp_path: pathlib.Path, command: Callable[..., tuple[int, str]]
) -> None:
    few = dataclasses.replace(
        runs.candidate, scores=runs.candidate.scores[:6], generations=runs.candidate.generations[:6]
    )
    path, other = tmp_path / "candidate.json", tmp_path / "full.json"
    path.write_text(dump_record(few))
    other.write_text(dump_record(few))

    def judge() -> Any:
        return command("compare", str(path), str(other), "--tol", "0.6"), replay.connect(str(path), url=None).record

    whole = judge()
    assert whole[0][0] == 0
    damages = damages_of(path.read_bytes(), seed=3, num_bytes=250, num_edits=200)
    assert judge_all(path, damages, judge, whole) > 350


def test_a_damaged_baseline_is_not_shown(
    runs: Runs, tmp_path: pathlib.Path, command: Callable[..., tuple[int, str]]
) -> None:
    path = tmp_path / "b.json"
    baseline = baseline_from_runs(runs.candidate, runs.reference.scores, ACCEPTANCE)
    path.write_text(dump(dataclasses.replace(baseline, items=baseline.items[:12])))
    whole = command("baseline", "show", str(path))
    damages = damages_of(path.read_bytes(), seed=4, num_bytes=100, num_edits=100)
    assert judge_all(path, damages, lambda: command("baseline", "show", str(path)), whole) > 150


def test_a_damaged_recipe_is_refused_or_another_recipe(tmp_path: pathlib.Path) -> None:
    """A recipe is written by people: what is still one has its own fingerprint, by which its baseline is stale."""
    path = tmp_path / "mine.toml"
    content = (pathlib.Path(recipes.__file__).parent / "smoothquant-w8a8kv8.toml").read_bytes()
    path.write_bytes(content)
    whole = recipes.load_recipe(path)
    rng = random.Random(5)
    extra = [
        Damage(f"{key} = {value[:20]}", content.replace(old, f"{key} = {value}".encode()))
        for old, key in (
            (b"num_bits = 8", "num_bits"),
            (b"dynamic = true", "dynamic"),
            (b'strategy = "token"', "strategy"),
        )
        for value in (
            "nan",
            "inf",
            "-1",
            "0x" + "F" * 6000,
            "9" * 5000,
            "1e999",
            '""',
            "[]",
            "{}",
            "true",
            "1979-05-27",
        )
    ]
    num_refused = 0
    for damage in (*of_bytes(content, rng, 300), *extra):
        plant(path, damage)
        said, found = refusal(lambda: recipes.load_recipe(path))
        if said is not None:
            num_refused += 1
            assert path.name in said or "unknown" in said, damage.name
            continue
        same_but_words = dataclasses.replace(found, name=whole.name, description=whole.description)
        assert (found.fingerprint == whole.fingerprint) == (same_but_words == whole), damage.name
    assert num_refused > 200


GATES = b"""[[gate]]
name = "release"
model = "tiny-reasoner"
recipe = "w8a8"
accuracy = { tol = 0.045, against = "reference", subset = 100 }
memory = { max_ratio = 0.6 }

[[gate]]
name = "long"
model = "tiny-reasoner"
device = "npu"
[gate.reasoning]
max_repetition = 0.1
mode = "slow_think"
"""


def test_a_damaged_file_of_gates_is_an_error_of_collection(
    tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "quantguard.toml"
    values = ("nan", "inf", "-1", "0x" + "F" * 6000, "9" * 5000, '"x"', "[]", "{}", "true", "1979-05-27", "[{}]")
    edits = [
        Damage(
            f"{key.decode()} is {value[:9]}",
            re.sub(rb"(\b" + key + rb" = )[^,\n}]+", rb"\g<1>" + value.encode(), GATES),
        )
        for key in (b"name", b"model", b"recipe", b"tol", b"against", b"subset", b"mode", b"memory", b"max_repetition")
        for value in values
    ]
    whole = [Damage("gate is no list", GATES.replace(b"[[gate]]", b"[gate]", 1))]
    whole += [Damage("not gates", f"gate = {value}\n".encode()) for value in (*values, "[1]", '["x"]')]
    num_refused = 0
    for damage in (*of_bytes(GATES, random.Random(6), 300), *edits, *whole):
        plant(path, damage)
        collected = GateFile.from_parent(request.session, path=path)
        said, items = refusal(lambda source=collected: list(source.collect()))  # type: ignore[misc]
        num_refused += said is not None
        assert path.name in said if said is not None else items, damage.name
    assert num_refused > 200


def test_kept_answers_are_those_that_were_given(runs: Runs, tmp_path: pathlib.Path) -> None:
    few = dataclasses.replace(runs.candidate, generations=runs.candidate.generations[:8])
    ids = [generation.sample_id for generation in few.generations]
    recording = replay.Recording(record=few, path="w8a8.json")

    def judge() -> Any:
        # What a reader of the damage before has left belongs to another file.
        for beside in tmp_path.glob(f"{NAME}-*"):
            beside.unlink()
        # A run that is never settled leaves its answers, as one that was broken off does.
        record = quantguard.evaluate(recording, sample_ids=ids, store=GenerationStore(tmp_path))
        return record.scores, record.generations

    whole = judge()
    path = tmp_path / NAME
    content = path.read_bytes()
    rng = random.Random(7)
    [row] = re.findall(rb'\{"run": "[0-9a-f]{64}", "request": [^\0]*?"sha256": "[0-9a-f]{64}"\}', content)[:1]
    # As long as before, so that the pages of the file stay what they are.
    edits = [
        Damage(damage.name, content.replace(row, damage.content.ljust(len(row))))
        for damage in of_json(row, rng, 120)
        if damage.content is not None and not damage.resealed and len(damage.content) <= len(row)
    ]
    advice = re.compile(f"{ADVICE.pattern}|QUANTGUARD_CACHE=DIR")
    damages = iter([*of_bytes(content, rng, 120), *edits])
    assert judge_all(path, damages, judge, whole, advice=advice) > 60


def test_earlier_runs_are_not_forgotten_by_damage(runs: Runs, tmp_path: pathlib.Path) -> None:
    store = RerunStore(tmp_path)
    earlier = EarlierRun(at="2999-01-01T00:00:00+00:00", outcome="REGRESSED", scores=runs.candidate.scores[:5])
    store.remember("gate", earlier)
    path = tmp_path / "gate.json"
    damages = damages_of(path.read_bytes(), seed=8, num_bytes=200, num_edits=150)
    assert judge_all(path, damages, lambda: store.earlier("gate"), (earlier,)) > 250


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("models") / "tiny-w8a8"
    quantguard.quantize_to_folder("tiny-reasoner", "w8a8", path)
    return path


def test_a_damaged_manifest_loads_no_model(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / native.MANIFEST
    content = path.read_bytes()
    # The files that it names are the same throughout.
    found = {file: file_sha256(file) for file in folder.iterdir()}
    monkeypatch.setattr(native, "file_sha256", lambda file: found.get(file, ""))
    whole = native._read_manifest(folder, hashes=True)
    damages = damages_of(content, seed=9, num_bytes=200, num_edits=150)
    try:
        noticed = judge_all(path, damages, lambda: native._read_manifest(folder, hashes=True), whole)
    finally:
        plant(path, Damage("mended", content))
    assert noticed > 250


def test_a_damaged_block_loads_no_model(folder: pathlib.Path) -> None:
    path = folder / "model-00002-of-00005.safetensors"
    content = path.read_bytes()
    rng = random.Random(10)
    size = 8 + int.from_bytes(content[:8], "little")
    try:
        for turn in range(120):
            damaged = bytearray(content)
            place = rng.randrange(8 if turn % 4 == 0 else size)
            damaged[place] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged[: rng.randrange(size)] if turn % 5 == 0 else damaged)
            with pytest.raises(QuantguardError, match=path.name):
                quantguard.load(folder)
        path.unlink()
        path.mkdir()
        with pytest.raises(QuantguardError, match=path.name):
            quantguard.load(folder)
    finally:
        plant(path, Damage("mended", content))


def test_a_run_does_not_go_on_from_a_damaged_note(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "quantguard-00001-of-00002.safetensors").touch()
    writer = FolderWriter(tmp_path, 1)
    path = writer.scratch / "block-1.json"
    state = native.OwnFolder(folder).manifest.blocks["model.layers.0"]
    writer.scratch.mkdir()
    NOTE_FILE.write(path, WrittenBlock(state=state, beyond=()))
    damages = damages_of(path.read_bytes(), seed=10, num_bytes=150, num_edits=100)
    assert judge_all(path, damages, writer.written_blocks, writer.written_blocks()) > 150


def test_a_reader_that_believes_what_it_reads_is_caught(runs: Runs, tmp_path: pathlib.Path) -> None:
    """Without the hash a flipped outcome would decide: the law above notices a reader that looks past it."""
    path = tmp_path / "b.json"
    baseline = baseline_from_runs(runs.candidate, runs.reference.scores, ACCEPTANCE)
    path.write_text(dump(baseline))

    def believe() -> Any:
        return [item["accepted"]["value"] for item in json.loads(path.read_text())["items"]]

    whole = believe()
    flipped = path.read_bytes().replace(b'"value": 1.0', b'"value": 0.0', 1)
    with pytest.raises(AssertionError, match="a bit flipped"):
        judge_all(path, iter([Damage("a bit flipped", flipped)]), believe, whole)


def test_a_damaged_report_is_not_accepted(
    runs: Runs, tmp_path: pathlib.Path, command: Callable[..., tuple[int, str]]
) -> None:
    few = dataclasses.replace(runs.candidate, scores=runs.candidate.scores[:4], generations=())
    result = GateResult(
        gate="accuracy",
        model=few.model,
        recipe=few.recipe_name,
        subject="word-problems",
        platform=few.platform,
        verdict=Verdict(outcome="PASS", metric="accuracy", reason="fine", margin=0.5),
        record=few,
    )
    output_files.write_all(tmp_path / "out", [("test_a", result)])
    path = tmp_path / "out" / output_files.RESULTS
    stored = tmp_path / "cpu/tiny-reasoner/w8a8/word-problems.json"
    other = dataclasses.replace(few, scores=tuple(dataclasses.replace(s, num_tokens=1) for s in few.scores))
    before = dump(baseline_from_runs(other, few.scores, ACCEPTANCE))

    def judge() -> Any:
        write_whole(stored, before)
        command("baseline", "accept", str(stored), str(path), "--tol", "0.9")
        return read(stored).items

    whole = judge()
    assert [item.accepted for item in whole] == list(few.scores)
    damages = damages_of(path.read_bytes(), seed=11, num_bytes=120, num_edits=100)
    assert judge_all(path, damages, judge, whole) > 130
