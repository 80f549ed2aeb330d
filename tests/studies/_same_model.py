"""A/A: a model against itself through the default gates, with all that varies between two runs of it."""

import dataclasses
import json
import pathlib
import random
from collections.abc import Sequence
from typing import Any

import pytest

from quantguard import baselines, pipeline
from quantguard.baselines import Acceptance, baseline_from_runs
from quantguard.benchmarks import choose_subset, task_name, word_problems
from quantguard.engines import transformers as engine
from quantguard.gates import accuracy
from quantguard.records import RunRecord
from tests.support import fault_lab

RECIPE = "w8a8"
# Every second run: what reasoning models are recommended to be sampled with.
SAMPLED: dict[str, Any] = {"temperature": 0.6, "top_p": 0.95}
BATCH_SIZES = (32, 64, 128, 256)
# Every so many runs have two threads, which cost much on a busy machine.
_TWO_THREADS = 20
# The latency gate has a study of its own.
WITHOUT = ("latency",)
NUM_ITEMS = 80
_BASELINE_SEED = 10**6
Row = dict[str, Any]
Runs = tuple[RunRecord, RunRecord]


def run(folder: pathlib.Path, kept: pathlib.Path, count: int, *, pool: int) -> list[Row]:
    """Run so often; what is in the file ``kept`` is not run again.

    Items are drawn from ``pool``, which the baselines' side has answered once, as full precision has.
    """
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    missing = [number for number in range(count) if number not in {row["run"] for row in rows}]
    if not missing:
        return rows[:count]
    fault_lab.healthy_project(folder, RECIPE, without=WITHOUT)
    accepted = [_answered({}, pool), _answered(SAMPLED, pool)]
    with pytest.MonkeyPatch.context() as patch, kept.open("a") as stream:
        fault_lab.answer_once(patch)
        for number in missing:
            seen = _one(folder, number, accepted[number % 2], sampling=SAMPLED if number % 2 else {})
            row: Row = {"run": number, "seen": [dataclasses.asdict(entry) for entry in seen]}
            rows.append(row)
            stream.write(json.dumps(row) + "\n")
            stream.flush()
    return rows


def _answered(sampling: dict[str, Any], pool: int) -> Runs:
    """Return what the quantized model and full precision answer to the whole pool."""
    model = pipeline.load("tiny-reasoner")
    quantized = pipeline.quantize(model, RECIPE)
    records = [pipeline.evaluate(m, subset=pool, seed=_BASELINE_SEED, **sampling) for m in (quantized, model)]
    return records[0], records[1]


def _one(folder: pathlib.Path, number: int, accepted: Runs, *, sampling: dict[str, Any]) -> list[fault_lab.Seen]:
    """Draw items, store their outcomes as the baseline, and run the gates in other circumstances."""
    rng = random.Random(number)
    there = {score.sample_id for score in accepted[0].scores}
    data = word_problems.load()
    pool = dataclasses.replace(data, samples=tuple(sample for sample in data.samples if sample.id in there))
    ids = [sample.id for sample in choose_subset(pool, min(NUM_ITEMS, len(there)), seed=number)]
    mine, full = (_only(record, ids) for record in accepted)
    subject = task_name(accuracy.Gate(**sampling))
    stored = baseline_from_runs(mine, full.scores, Acceptance(by="the study", on="2026-01-01", why="A/A"))
    path = baselines.baseline_path(
        folder / "baselines", platform="cpu", model="tiny-reasoner", recipe=RECIPE, benchmark=subject
    )
    baselines.write(path, dataclasses.replace(stored, benchmark=subject))
    fault_lab.project(folder, RECIPE, without=WITHOUT, copy_baselines=False, accuracy=sampling, reasoning=sampling)
    with pytest.MonkeyPatch.context() as patch:
        size, generate = rng.choice(BATCH_SIZES), engine.generate
        patch.setattr(engine, "generate", lambda *args, **more: generate(*args, **more | {"batch_size": size}))
        threads = 1 if number % _TWO_THREADS else 2
        return fault_lab.run_gates(folder, f"--quantguard-seed={number}", f"--quantguard-threads={threads}")


def _only(record: RunRecord, ids: Sequence[str]) -> RunRecord:
    by_id = {score.sample_id: score for score in record.scores}
    return dataclasses.replace(record, scores=tuple(by_id[id_] for id_ in ids))
