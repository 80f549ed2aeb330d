"""A run ends once it is decided, and running again cannot turn red into green by luck."""

import contextlib
import dataclasses
import datetime as dt
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest

from quantguard.benchmarks import Benchmark, Task
from quantguard.errors import MeasurementError
from quantguard.gates import EarlierRun, Estimate, GateResult, Session
from quantguard.gates.accuracy.sequential import SequentialTest, decide, random_order
from quantguard.pipeline import RerunStore, rerun_store
from quantguard.records import GenerationConfig, Outcome, RunRecord, Sample, Score, Verdict
from quantguard.records.judgement import Basis
from quantguard.report.multiple_testing import multiple_testing_lines
from quantguard.run_options import RunOptions
from quantguard.stats import Method
from quantguard.verdict import AccuracyRule, judge_accuracy
from tests.support.fingerprints import fingerprint_of

N = 300
IDS = tuple(f"i{index}" for index in range(N))
SAMPLED = GenerationConfig(max_new_tokens=8, temperature=0.5)
# What a run answers: the value of an item under a seed.
Answer = Callable[[int, int], float]


def score(id_: str, value: float) -> Score:
    return Score(
        sample_id=id_, epoch=0, value=value, answer=None, explanation="boxed", num_tokens=1, finish_reason="stop"
    )


BENCHMARK = Benchmark(
    name="b",
    description="",
    licence="",
    task="generate",
    samples=tuple(Sample(id=id_, input="") for id_ in IDS),
    default_subset=N,
)


@dataclasses.dataclass
class Memory:
    """The runs of one gate in a store."""

    store: RerunStore
    key: str = "gate"

    def read(self) -> tuple[EarlierRun, ...]:
        return self.store.earlier(self.key)

    def add(self, run: EarlierRun) -> None:
        self.store.remember(self.key, run)

    def forget(self) -> None:
        self.store.forget(self.key)


@dataclasses.dataclass
class Bench:
    """A session whose model answers by ``answer``, and that counts what it is asked."""

    answer: Answer
    reruns: RerunStore | None = None
    seed: int = 0
    asked: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    shown: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    estimate: Estimate | None = None

    @property
    def options(self) -> RunOptions:
        return RunOptions(seed=self.seed)

    def display(self, task: Task, num_answers: int, estimate: Estimate) -> contextlib.AbstractContextManager[None]:
        self.estimate = estimate
        self.shown.append((task.name, num_answers))
        return contextlib.nullcontext()

    def run(self, task: Task, sample_ids: Sequence[str], *, display: None = None) -> RunRecord:
        del display
        self.asked.append(tuple(sample_ids))
        return RunRecord(
            model="m",
            recipe=None,
            benchmark=task.name,
            platform="cpu",
            generation_config=task.config,
            scores=tuple(score(id_, self.answer(int(id_[1:]), task.config.seed)) for id_ in sample_ids),
            kernels={},
            fingerprint=fingerprint_of(),
            recorded={},
            metrics={"accuracy": 1.0},
        )

    def task(self) -> Task:
        return Task(name="b", benchmark=BENCHMARK, config=dataclasses.replace(SAMPLED, seed=self.seed))

    def decide(self, *, key: str = "gate", **settings: Any) -> tuple[Verdict, RunRecord]:
        test: dict[str, Any] = {
            "task": self.task(),
            "sample_ids": IDS,
            "baseline": tuple(score(id_, float(int(id_[1:]) % 10 != 0)) for id_ in IDS),
            "rule": AccuracyRule(tol=0.045),
            "method": "off",
            "clusters": None,
            "num_seeds": 1,
        }
        memory = None if self.reruns is None else Memory(self.reruns, key)
        return decide(SequentialTest(**{**test, **settings}), cast("Session", self), memory)


def same(item: int, seed: int) -> float:
    del seed
    return float(item % 10 != 0)


def always_worse(item: int, seed: int) -> float:
    return same(item, seed) if item % 8 else 0.0


def undecided(item: int, seed: int) -> float:
    """Lose 12 items of 300, the same at every run."""
    return 0.0 if item % 23 == 1 else same(item, seed)


def broken(item: int, seed: int) -> float:
    del item, seed
    return 0.0


def test_a_run_without_flips_ends_after_a_third_and_says_so() -> None:
    bench = Bench(same)
    verdict, record = bench.decide(method="group-sequential")
    assert verdict.outcome == "PASS"
    assert "decided after 105 of 300 items" in verdict.reason
    assert (verdict.n, verdict.num_planned) == (105, 300)
    assert [len(block) for block in bench.asked] == [60, 45]
    assert len(record.scores) == 105


@pytest.mark.parametrize("method", ["group-sequential", "betting"])
def test_a_broken_model_is_found_at_once(method: Method) -> None:
    bench = Bench(broken)
    verdict, _ = bench.decide(method=method)
    assert verdict.outcome == "REGRESSED"
    assert verdict.n is not None
    assert verdict.n <= 64


def test_without_early_stopping_all_items_run_in_the_order_of_the_baseline() -> None:
    bench = Bench(same)
    assert bench.decide()[0].n == N
    assert bench.asked == [IDS]
    assert bench.shown == [("b", N)]
    assert bench.estimate is not None
    assert bench.estimate(bench.run(bench.task(), IDS[:40]).scores).startswith("+0.0 points (-7.")


def test_the_order_is_random_by_seed_and_has_every_item() -> None:
    order = random_order(IDS, seed=0)
    assert sorted(order) == sorted(IDS)
    assert order != IDS
    assert order != random_order(IDS, seed=1)
    assert order == random_order(IDS, seed=0)


def test_an_undecided_run_goes_on_to_its_last_item() -> None:
    bench = Bench(undecided)
    verdict, _ = bench.decide(method="group-sequential")
    assert sum(map(len, bench.asked)) == N
    assert verdict.outcome == "INCONCLUSIVE"


def noisy(rate: float, *, offset: int = 0) -> Answer:
    """Lose items at random, others at every seed; gain nothing."""

    def answer(item: int, seed: int) -> float:
        lost = np.random.default_rng([seed + offset, item]).random() < rate
        return 0.0 if lost else same(item, seed)

    return answer


def test_identical_reruns_of_a_deterministic_model_stay_what_they_were(tmp_path: pathlib.Path) -> None:
    for answer, outcome in ((always_worse, "REGRESSED"), (undecided, "INCONCLUSIVE")):
        store = RerunStore(tmp_path / outcome)
        first = Bench(answer, store).decide()[0]
        assert first.outcome == outcome
        for _ in range(4):
            verdict, record = Bench(answer, RerunStore(tmp_path / outcome)).decide()
            assert verdict.outcome == outcome
            assert any("judged together with" in note for note in record.notes)


def test_a_red_run_is_not_made_green_by_lucky_ones(tmp_path: pathlib.Path) -> None:
    """At a drop of the margin some runs alone would pass; together they do not, however often one tries."""
    answer = noisy(0.05)
    alone = [Bench(answer, seed=seed).decide()[0].outcome for seed in range(20)]
    assert alone.count("PASS") > 0
    wrong = 0
    for chain in range(15):
        store = RerunStore(tmp_path / str(chain))
        outcomes = [Bench(noisy(0.05, offset=1000 * chain), store, seed=seed).decide()[0].outcome for seed in range(4)]
        wrong += "PASS" in outcomes
    assert wrong / 15 <= 0.1 + 2 * (0.1 * 0.9 / 15) ** 0.5


def test_a_regressed_run_is_cleared_by_evidence_and_by_nothing_less(tmp_path: pathlib.Path) -> None:
    store = RerunStore(tmp_path)
    unlucky = Bench(noisy(0.12), store)
    assert unlucky.decide()[0].outcome == "REGRESSED"
    second = Bench(noisy(0.05), store, seed=1).decide()[0]
    assert second.outcome == "REGRESSED"
    outcomes = [Bench(same, store, seed=2 + turn).decide()[0].outcome for turn in range(3)]
    assert outcomes[0] == "REGRESSED"
    assert store.earlier("gate") != ()


def test_fewer_items_are_no_way_to_leave_the_lost_ones_behind(tmp_path: pathlib.Path) -> None:
    def worse_at_the_end(item: int, seed: int) -> float:
        return same(item, seed) if item < 150 else 0.0

    store = RerunStore(tmp_path)
    assert Bench(worse_at_the_end).decide(sample_ids=IDS[:120])[0].outcome == "PASS"
    assert Bench(worse_at_the_end, store).decide()[0].outcome == "REGRESSED"
    verdict, _ = Bench(worse_at_the_end, store).decide(sample_ids=IDS[:120])
    assert verdict.outcome == "REGRESSED"
    assert verdict.n == N


def test_a_pass_of_all_together_forgets_and_the_next_run_stands_alone(tmp_path: pathlib.Path) -> None:
    store = RerunStore(tmp_path)
    assert Bench(noisy(0.035), store).decide()[0].outcome == "INCONCLUSIVE"
    verdict, _ = Bench(same, store, seed=1).decide()
    assert verdict.outcome == "PASS"
    assert store.earlier("gate") == ()


def test_earlier_runs_are_kept_for_a_day_and_left_out_when_asked(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Bench(always_worse, RerunStore(tmp_path)).decide()
    assert len(RerunStore(tmp_path).earlier("gate")) == 1
    assert RerunStore(tmp_path, fresh=True).earlier("gate") == ()
    monkeypatch.setattr(rerun_store, "LONGEST_MEMORY", dt.timedelta(0))
    assert RerunStore(tmp_path).earlier("gate") == ()


def test_a_damaged_memory_is_an_error_and_not_a_clean_slate(tmp_path: pathlib.Path) -> None:
    Bench(always_worse, RerunStore(tmp_path)).decide()
    path = tmp_path / "gate.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(MeasurementError, match=f"damaged: .*rm -r '{path}'"):
        Bench(same, RerunStore(tmp_path)).decide()


def test_an_undecided_sampled_run_spends_its_budget_of_seeds() -> None:
    bench = Bench(noisy(0.035))
    verdict, record = bench.decide(num_seeds=4)
    assert len(bench.asked) > 1
    assert any("more seeds" in note for note in record.notes)
    assert verdict.outcome in ("PASS", "INCONCLUSIVE")


def test_clusters_widen_the_bounds_and_few_of_them_are_an_error() -> None:
    baseline = [score(id_, 1.0) for id_ in IDS]
    # Whole passages of ten items are lost or gained together.
    candidate = [score(id_, 0.0 if int(id_[1:]) // 10 == 3 else 1.0) for id_ in IDS]
    rule = AccuracyRule(tol=0.07)
    alone = judge_accuracy(candidate, baseline, expected_ids=IDS, rule=rule)
    passages = {id_: str(int(id_[1:]) // 10) for id_ in IDS}
    together = judge_accuracy(candidate, baseline, expected_ids=IDS, rule=rule, clusters=passages)
    assert (alone.outcome, together.outcome) == ("PASS", "INCONCLUSIVE")
    few = judge_accuracy(
        candidate,
        baseline,
        expected_ids=IDS,
        rule=rule,
        clusters={id_: id_[1:2] if id_[1:2] != "0" else "1" for id_ in IDS},
    )
    assert few.outcome == "ERROR"
    assert "9 clusters; at least 10" in few.reason


def result(p_drop: float | None, outcome: Outcome = "REGRESSED", **settings: Any) -> GateResult:
    basis: Basis = "significant" if outcome == "REGRESSED" else "proven"
    verdict = Verdict(outcome=outcome, metric="accuracy", reason="r", p_drop=p_drop, basis=basis, **settings)
    return GateResult(gate="accuracy", model="m", recipe="r", subject="b", platform="cpu", verdict=verdict)


def test_among_many_gates_a_significant_drop_is_said_to_be_chance_or_to_hold_up() -> None:
    quiet = [result(0.5, "PASS") for _ in range(10)]
    [line] = multiple_testing_lines([result(0.03), *quiet])
    assert "p = 0.03 is 0.33 when all 11 gates of this run are counted (Holm)" in line
    assert "stays REGRESSED" in line
    [line] = multiple_testing_lines([result(0.001), *quiet])
    assert "the drop holds up" in line
    assert multiple_testing_lines([result(0.03)]) == []
    assert multiple_testing_lines([result(None), *quiet]) == []


def test_a_gate_that_passed_early_does_not_count_by_what_it_saw_too_often() -> None:
    early = result(0.04, "PASS", n=100, num_planned=300)
    [line] = multiple_testing_lines([result(0.03), early])
    assert "is 0.06" in line


@pytest.mark.parametrize("count", [1, 5, 20])
def test_false_alarms_of_a_whole_run_are_as_rare_as_stated(count: int) -> None:
    rng = np.random.default_rng(8)
    runs = 2000
    alarms = sum(
        any(
            "holds up" in line
            for line in multiple_testing_lines([result(p) for p in rng.random(count)] + [result(1.0)])
        )
        for _ in range(runs // count)
    )
    assert alarms / (runs // count) <= 0.05 + 3 * (0.05 * 0.95 / (runs // count)) ** 0.5
