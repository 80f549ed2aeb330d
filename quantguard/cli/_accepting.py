"""Taking a run that was made as the baseline of its gate, without running it again."""

import argparse
import dataclasses
import pathlib
from typing import NamedTuple

from quantguard.baselines import Baseline, baseline_path, read, write
from quantguard.benchmarks import Benchmarks, task_name
from quantguard.errors import BaselineError, RecordError, UsageError
from quantguard.gates import GateResult
from quantguard.gates.accuracy import Gate
from quantguard.gates.accuracy.updating import Proposal, propose
from quantguard.records import RunRecord, Score
from quantguard.records.files import parse_json, read_text
from quantguard.records.record_file import read_record
from quantguard.report.output_files import read_results
from quantguard.verdict import USUAL_TOLERANCE, AccuracyRule

_WHOLE = "pytest --quantguard --quantguard-early-stop=off --quantguard-report=DIR"


class AcceptedRun(NamedTuple):
    """A run, what it measured, and the absolute drop that its gate tolerates, absent where no gate ran it."""

    record: RunRecord
    subject: str
    margin: float | None


def accept(args: argparse.Namespace) -> list[str]:
    """Judge the run and put it in the baseline's place; return what to print.

    Raises BaselineError for a run that is foreign, partial or an ERROR, or worse than tolerated without a reason.
    """
    path: pathlib.Path = args.path
    previous = read(path) if path.exists() else None
    candidate = _candidate(args.run, path)
    _refuse_foreign(path, candidate)
    reference = _reference(args.reference, candidate.record, previous, path)
    _refuse_partial(args.run, candidate.record, reference, previous)
    tol = args.tol if args.tol is not None else candidate.margin if candidate.margin is not None else USUAL_TOLERANCE
    if not 0 < tol < 1:
        raise UsageError(f"--tol {tol}: the tolerance is a fraction between 0 and 1; 4.5 points are 0.045")
    if args.reason is not None and not args.reason.strip():
        raise UsageError("--reason is empty: say why a worse baseline is meant, it is kept in the file")
    proposal = propose(
        _in_order(candidate.record, previous),
        reference,
        previous,
        subject=candidate.subject,
        rule=AccuracyRule(tol=tol),
        reason=args.reason,
        how_to_give_one="add --reason REASON",
    )
    return _put(path, proposal, previous)


def _put(path: pathlib.Path, proposal: Proposal, previous: Baseline | None) -> list[str]:
    if proposal.baseline is None:
        raise BaselineError(f"{path}: {proposal.verdict.reason}")
    if proposal.baseline == previous:
        return [f"baseline unchanged: {path}"]
    write(path, proposal.baseline)
    verdict = proposal.verdict
    return [f"{verdict.outcome}  against {proposal.against}: {verdict.reason}", f"baseline written: {path}"]


def _candidate(run: pathlib.Path, path: pathlib.Path) -> AcceptedRun:
    """Return the run of a record, or that of the gate of a report that has its baseline at ``path``."""
    try:
        of_report = isinstance(parse_json(read_text(run)), dict) and "gates" in parse_json(read_text(run))
    except RecordError:
        of_report = False
    if not of_report:
        record = read_record(run)
        return AcceptedRun(record, _subject(record), None)
    results = [result for result in read_results(run) if result.gate == "accuracy" and _belongs(result, path)]
    if not results:
        raise BaselineError(f"{run} is foreign: no accuracy gate in it has its baseline at {path}")
    result = results[-1]
    if result.verdict.outcome == "ERROR" or result.record is None:
        raise BaselineError(
            f"{run}: the gate of {path} ended as {result.verdict.outcome}, which is no run to accept:"
            f" {result.verdict.reason}"
        )
    return AcceptedRun(result.record, result.subject, result.verdict.margin)


def _belongs(result: GateResult, path: pathlib.Path) -> bool:
    names = baseline_path(
        pathlib.Path(), platform=result.platform, model=result.model, recipe=result.recipe, benchmark=result.subject
    )
    return path.absolute().parts[-4:] == names.parts


def _subject(record: RunRecord) -> str:
    """Name what a record measured as its gate would."""
    if not record.scores:
        raise BaselineError(f"the record of {record.benchmark} has no scored items, so it is no accuracy to accept")
    config = record.generation_config
    if config is None:
        return task_name(Gate(benchmark=record.benchmark))
    usual = Benchmarks()[record.benchmark].max_new_tokens
    return task_name(
        Gate(
            benchmark=record.benchmark,
            mode=config.mode,
            temperature=config.temperature,
            top_p=config.top_p,
            epochs=config.epochs,
            max_new_tokens=None if config.max_new_tokens == usual else config.max_new_tokens,
        )
    )


def _refuse_foreign(path: pathlib.Path, candidate: AcceptedRun) -> None:
    record = candidate.record
    names = baseline_path(
        pathlib.Path(),
        platform=record.platform,
        model=record.model,
        recipe=record.recipe_name,
        benchmark=candidate.subject,
    )
    if path.absolute().parts[-4:] != names.parts:
        raise BaselineError(
            f"the run is foreign to {path}: its baseline belongs at {names} below the baselines' folder"
        )


def _reference(
    given: pathlib.Path | None, record: RunRecord, previous: Baseline | None, path: pathlib.Path
) -> tuple[Score, ...]:
    """Return full precision's scores: of the record that is named, or of the baseline where it is of the same run."""
    how = (
        f"quantguard evaluate MODEL --output full.json, then quantguard baseline accept {path} … --reference full.json"
    )
    if given is None:
        if previous is None:
            raise BaselineError(
                f"a baseline holds full precision beside the run, and there is none at {path}. Type: {how}"
            )
        if differing := [difference.name for difference in previous.fingerprint.differences(record.fingerprint)]:
            raise BaselineError(
                f"the run is not of what {path} is of: {', '.join(differing)} differ, so its full precision may too."
                f" Type: {how}; or measure both, pytest --quantguard --quantguard-update=changed"
            )
        return previous.scores("reference")
    full = read_record(given)
    both = [
        dataclasses.replace(one.fingerprint, model=one.fingerprint.model.before_quantization())
        for one in (record, full)
    ]
    changed = [difference.name for difference in both[0].differences(both[1])]
    if full.recipe is not None or full.served or full.platform != record.platform or changed:
        what = ", ".join(changed) or f"it is {full.recipe_name} on {full.platform}"
        raise BaselineError(f"{given} is not full precision of the same run: {what}. Type: {how}")
    return full.scores


def _refuse_partial(
    run: pathlib.Path, record: RunRecord, reference: tuple[Score, ...], previous: Baseline | None
) -> None:
    """Raise BaselineError for a run that left items out, which would shrink the baseline without a word."""
    done = {(score.sample_id, score.epoch) for score in record.scores}
    same_data = previous is not None and previous.fingerprint.question.data == record.fingerprint.question.data
    wanted = {(item.sample_id, item.epoch) for item in previous.items} if previous is not None and same_data else set()
    if wanted - done:
        raise BaselineError(
            f"{run} has {len(done)} answers, and {len(wanted - done)} of the baseline's {len(wanted)} are not among"
            f" them: it ended early or was limited. Run it whole: {_WHOLE}"
        )
    if lacking := done - {(score.sample_id, score.epoch) for score in reference}:
        raise BaselineError(
            f"full precision lacks {len(lacking)} answers of {run}, such as {min(lacking)[0]}: run both on the same"
            " items"
        )


def _in_order(record: RunRecord, previous: Baseline | None) -> RunRecord:
    """Return the record in the baseline's order, in which items were drawn; a gate runs them in another."""
    order = {} if previous is None else {(item.sample_id, item.epoch): i for i, item in enumerate(previous.items)}
    scores = sorted(record.scores, key=lambda score: order.get((score.sample_id, score.epoch), len(order)))
    return dataclasses.replace(record, scores=tuple(scores))
