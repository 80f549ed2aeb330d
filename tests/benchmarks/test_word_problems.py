"""The embedded benchmark is fixed, apart from training, and balanced."""

import collections
import random
import re

import pytest

from quantguard import benchmarks
from quantguard.benchmarks import Benchmark, choose_subset, word_problems
from quantguard.errors import QuantguardError
from quantguard.records import Sample
from quantguard.tiny_reasoner import items
from quantguard.tiny_reasoner.problems import MODES, STEP_COUNTS, bare_sum, generate, is_held_out, reply


@pytest.fixture(scope="module")
def data() -> Benchmark:
    benchmark: Benchmark = benchmarks.members["word-problems"].load()
    return benchmark


def test_the_file_is_what_the_generator_makes() -> None:
    assert word_problems._ITEMS.read_text() == "".join(f"{line}\n" for line in items.lines())


def test_there_are_at_least_a_thousand_items_in_equal_shares_of_steps(data: Benchmark) -> None:
    assert len(data.samples) >= 1000
    counts = collections.Counter(sample.metadata["steps"] for sample in data.samples)
    assert set(counts) == set(STEP_COUNTS)
    assert len(set(counts.values())) == 1


def test_every_item_is_held_out_and_nothing_in_training_is(data: Benchmark) -> None:
    assert all(is_held_out(problem) for problem in items.benchmark_problems())
    questions = {sample.input for sample in data.samples}
    rng = random.Random(0)
    for _ in range(3000):
        problem = generate(rng, num_steps=rng.choice(STEP_COUNTS), held_out=False)
        assert not is_held_out(problem)
        assert problem.question not in questions
    assert not any(is_held_out(bare_sum(rng, held_out=False)) for _ in range(500))


def test_renaming_does_not_carry_a_problem_across_the_split() -> None:
    problem = next(p for p in items.benchmark_problems() if len(p.steps) == 3)
    renamed = type(problem)(question="Other words.", steps=problem.steps, answer=problem.answer)
    assert is_held_out(renamed)


def test_the_arithmetic_of_every_problem_and_reply_is_right() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        problem = generate(rng, num_steps=rng.choice(STEP_COUNTS), held_out=rng.random() < 0.5)
        for step in problem.steps:
            assert eval(f"{step.left}{step.operator}{step.right}") == step.result
            assert 0 <= step.result <= 99
        for mode in MODES:
            for left, right in re.findall(r"([\d+*/-]+)=(\d+)", reply(problem, mode)):
                assert eval(left) == int(right)
            assert reply(problem, mode).endswith(f"\\boxed{{{problem.answer}}}.")


def test_a_subset_is_balanced_and_a_smaller_one_is_its_beginning(data: Benchmark) -> None:
    large, small = choose_subset(data, 300, seed=0), choose_subset(data, 50, seed=0)
    assert small == large[:50]
    assert set(collections.Counter(s.metadata["steps"] for s in small).values()) == {10}
    assert choose_subset(data, 300, seed=1) != large
    assert [s.id for s in small] != sorted(s.id for s in small)


@pytest.mark.parametrize("count", [0, 1201], ids=["none", "too many"])
def test_an_impossible_subset_is_refused(data: Benchmark, count: int) -> None:
    with pytest.raises(QuantguardError, match="has 1200 items"):
        choose_subset(data, count, seed=0)


def test_a_benchmark_without_items_or_with_repeated_ids_is_refused() -> None:
    for samples in ((), (Sample(id="a", input="x"), Sample(id="a", input="y"))):
        with pytest.raises(QuantguardError, match=r"no samples|ids repeat"):
            Benchmark(name="b", description="", licence="", task="generate", samples=samples, default_subset=1)


@pytest.mark.parametrize("name", list(benchmarks.members))
def test_every_benchmark_names_its_licence_and_has_a_stable_hash(name: str) -> None:
    module, downloaded = benchmarks.members[name], benchmarks.members.able(name, benchmarks.Downloaded)
    if downloaded is not None and downloaded.missing():
        assert downloaded.LICENCE
        assert downloaded.DESCRIPTION
        pytest.skip(f"needs the data of {name}: {downloaded.missing()[0].remedy}")
    data = module.load()
    assert data.name == name
    assert data.licence
    assert data.sha256 == module.load().sha256
