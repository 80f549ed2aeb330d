"""A run that is broken off goes on where it stopped; one that came to its end is measured anew."""

import dataclasses
import datetime as dt
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from quantguard.benchmarks import choose_subset
from quantguard.engines._prompting import Request
from quantguard.errors import MeasurementError
from quantguard.pipeline import GenerationStore, evaluating, generation_store
from quantguard.pipeline.generation_store import Policy
from quantguard.records import Fingerprint, Generation, GenerationConfig, Question, Recipe, RunRecord
from quantguard.records.answer_file import NAME
from quantguard.registry import benchmarks
from tests.support.fingerprints import fingerprint_of

# A lock may be waited for.
pytestmark = pytest.mark.timeout(60, func_only=True)

CONFIG = GenerationConfig(max_new_tokens=8)


class PowerCut(Exception):  # noqa: N818 - it is none of ours
    """The run is broken off here."""


@dataclasses.dataclass
class Echo:
    """Answers everything with a number, and counts; stops after ``limit`` answers."""

    answer: str = "1"
    limit: int = 1000
    weights: str = "w"
    asked: int = 0
    name: str = "echo"
    engine: str = "transformers"
    platform: str = "cpu"
    recipe: Recipe | None = None
    served: bool = False
    tokenizer: None = None
    notes: tuple[str, ...] = ()
    default_batch_size: int = 4
    twice: bool = False
    silent: bool = False

    def kernels(self) -> dict[str, str]:
        return {}

    def fingerprint(self, question: Question, *, batch_size: int) -> Fingerprint:
        return dataclasses.replace(fingerprint_of(weights=self.weights, batch_size=batch_size), question=question)

    def circumstances(self) -> dict[str, str]:
        return {}

    def generation_facts(self) -> dict[str, str]:
        return {}

    def generate(
        self,
        requests: Sequence[Request],
        config: GenerationConfig,
        *,
        batch_size: int,
        finished: Callable[[Generation], None],
    ) -> None:
        del config, batch_size
        for request in () if self.silent else reversed(requests):
            if self.asked == self.limit:
                raise PowerCut
            self.asked += 1
            answer = Generation(
                sample_id=request.sample_id,
                epoch=request.epoch,
                text=rf"\boxed{{{self.answer}}}",
                num_tokens=2,
                finish_reason="stop",
            )
            finished(answer)
            if self.twice:
                finished(answer)


def run(
    echo: Echo, store: GenerationStore | None, policy: Policy = "resume", config: GenerationConfig = CONFIG
) -> RunRecord:
    data = benchmarks["word-problems"].load()
    return evaluating.run(echo, data, choose_subset(data, 10, seed=0), config, store=store, policy=policy)


def broken_off(folder: pathlib.Path, policy: Policy = "resume", **settings: Any) -> None:
    with pytest.raises(PowerCut):
        run(Echo(limit=6, **settings), GenerationStore(folder), policy)


def test_a_broken_run_goes_on_and_says_so(tmp_path: pathlib.Path) -> None:
    broken_off(tmp_path, answer="5")
    store, second = GenerationStore(tmp_path), Echo(answer="7")
    record = run(second, store)
    assert second.asked == 4
    assert sorted(generation.text for generation in record.generations) == [r"\boxed{5}"] * 6 + [r"\boxed{7}"] * 4
    assert record.notes[0].startswith("6 of 10 answers are of a run that began at")
    assert [score.sample_id for score in record.scores] == [g.sample_id for g in record.generations]


def test_a_run_that_ended_well_is_measured_anew(tmp_path: pathlib.Path) -> None:
    store = GenerationStore(tmp_path)
    run(Echo(), store)
    store.settle()
    again = Echo()
    assert run(again, GenerationStore(tmp_path)).notes == ()
    assert again.asked == 10


def test_what_is_measured_twice_in_one_run_is_measured_twice(tmp_path: pathlib.Path) -> None:
    store, twice = GenerationStore(tmp_path), Echo()
    run(twice, store)
    assert run(twice, store).notes == ()
    assert twice.asked == 20


def test_blocks_of_a_broken_run_are_all_gone_on_with(tmp_path: pathlib.Path) -> None:
    data = benchmarks["word-problems"].load()
    samples = choose_subset(data, 10, seed=0)

    def in_blocks(echo: Echo) -> None:
        store = GenerationStore(tmp_path)
        for block in (samples[:4], samples[4:8], samples[8:]):
            evaluating.run(echo, data, block, CONFIG, store=store)

    with pytest.raises(PowerCut):
        in_blocks(Echo(limit=7))
    later = Echo()
    in_blocks(later)
    assert later.asked == 3


def test_nothing_is_dropped_while_something_is_missing(tmp_path: pathlib.Path) -> None:
    store = GenerationStore(tmp_path)
    run(Echo(), store)
    with pytest.raises(PowerCut):
        run(Echo(limit=6, weights="other"), store)
    store.settle()
    first, second, later = Echo(), Echo(weights="other"), GenerationStore(tmp_path)
    run(first, later)
    run(second, later)
    assert (first.asked, second.asked) == (0, 4)


@pytest.mark.parametrize(
    "change", [{"weights": "x"}, {"name": "x"}, {"default_batch_size": 5}], ids=["weights", "name", "batch"]
)
def test_what_the_answers_depend_on_parts_them(tmp_path: pathlib.Path, change: dict[str, Any]) -> None:
    broken_off(tmp_path)
    other = Echo(**change)
    run(other, GenerationStore(tmp_path))
    assert other.asked == 10


@pytest.mark.parametrize("change", [{"seed": 1}, {"max_new_tokens": 9}, {"mode": "no_think"}, {"temperature": 0.5}])
def test_decoding_parts_them(tmp_path: pathlib.Path, change: dict[str, Any]) -> None:
    broken_off(tmp_path)
    other = Echo()
    run(other, GenerationStore(tmp_path), config=dataclasses.replace(CONFIG, **change))
    assert other.asked == 10


@pytest.mark.parametrize("policy", ["resume", "keep"])
def test_other_source_files_part_them(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, policy: Policy) -> None:
    broken_off(tmp_path, policy=policy)
    monkeypatch.setattr(generation_store, "own_sources", lambda: "what answers has changed")
    other = Echo()
    run(other, GenerationStore(tmp_path), policy)
    assert other.asked == 10


def test_a_reference_is_never_run_twice(tmp_path: pathlib.Path) -> None:
    store = GenerationStore(tmp_path)
    run(Echo(), store, "keep")
    store.settle()
    again = Echo()
    assert run(again, GenerationStore(tmp_path), "keep").notes == ()
    assert again.asked == 0


def test_yesterdays_answers_are_not_gone_on_with(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_off(tmp_path)
    monkeypatch.setattr(generation_store, "LONGEST_BREAK", dt.timedelta(0))
    later = Echo()
    run(later, GenerationStore(tmp_path))
    assert later.asked == 10


def test_fresh_measures_everything_anew(tmp_path: pathlib.Path) -> None:
    for policy in ("resume", "keep"):
        broken_off(tmp_path, policy)
        later = Echo()
        run(later, GenerationStore(tmp_path, fresh=True), policy)
        assert later.asked == 10


def test_damage_is_an_error_that_says_what_to_type(tmp_path: pathlib.Path) -> None:
    broken_off(tmp_path)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes().replace(b'"num_tokens"', b'"num_tokers"', 1))
    with pytest.raises(MeasurementError, match=rf"damaged: it was edited.* Type: rm -r '{path}'\*"):
        run(Echo(), GenerationStore(tmp_path))


def test_what_another_process_is_at_is_measured_here_too_and_not_kept(tmp_path: pathlib.Path) -> None:
    class Inner(Echo):
        def generate(self, *args: Any, **kwargs: Any) -> None:
            inner = Echo()
            run(inner, GenerationStore(tmp_path))
            assert inner.asked == 10
            super().generate(*args, **kwargs)

    outer = Inner()
    assert len(run(outer, GenerationStore(tmp_path)).scores) == 10


def test_an_engine_that_answers_twice_or_not_at_all_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="twice"):
        run(Echo(twice=True), None)
    with pytest.raises(MeasurementError, match="left out 10 of 10 answers"):
        run(Echo(silent=True), None)
