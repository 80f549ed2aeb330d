"""Verdicts as lines of text."""

import collections
from collections.abc import Iterable, Sequence

from quantguard.gates import GateResult
from quantguard.records import RunRecord
from quantguard.records.judgement import OUTCOMES
from quantguard.report.wording import visible

# From best to worst, as a row and a whole test are called.
LABELS = ("PASS", "MEASURED", "SKIPPED", *OUTCOMES[1:-1], "NOT RUN", "ERROR")


def gate_lines(results: Sequence[GateResult], *, with_tracebacks: bool = False) -> list[str]:
    """Return a headline for each result with the reason, kernels and notes indented below, and the traceback."""
    lines = []
    for result in results:
        lines.append(f"{result.label:<12} {title(result)}")
        details = [result.verdict.reason]
        if result.record is not None:
            details.append(record_line(result.record))
        details += [f"note: {note}" for note in result.notes]
        if with_tracebacks and result.traceback is not None:
            details.append(result.traceback.rstrip())
        lines += [f"    {detail}" for detail in details]
    # What models and servers wrote does not steer the terminal, nor pass for a line of its own.
    return [visible(line).replace("\n", "\n        ") for line in lines]


def record_line(record: RunRecord) -> str:
    """Return accuracy, the rates that there are, and kernels of a run in one line."""
    metrics = record.metrics
    untold = "as served" if record.served else "full precision"
    kernels = "; ".join(f"{op} on {backend}" for op, backend in record.kernels.items()) or untold
    if record.generation_config is None:
        return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()) + f"; {kernels}"
    unjudged = f" not judged {metrics['unjudged']:.1%}," if metrics.get("unjudged") else ""
    beside = f" ({metrics['length_ratio']:.2f} of full precision's)" if "length_ratio" in metrics else ""
    return (
        f"accuracy {metrics['accuracy']:.1%}, truncated {metrics['truncated']:.1%},"
        f" no answer {metrics['unparsed']:.1%},{unjudged} repeating {metrics['repeating']:.1%},"
        f" {metrics['mean_num_tokens']:.0f} tokens an answer{beside}; {kernels}"
    )


def title(result: GateResult) -> str:
    """Return what a result is about: a gate with its model, or a test as a whole."""
    if result.of_test:
        return f"{result.gate}: {result.subject}"
    return f"{result.gate}: {result.subject} on {result.model}, {result.recipe} ({result.platform})"


def closing_line(results: Sequence[tuple[str, GateResult]]) -> str:
    """Count the outcomes, and those of whole tests where a test has several."""
    if not results:
        return "quantguard: no gate was decided"
    of_gates = counted(result.label for _, result in results)
    of_tests = worded_tests(results)
    return f"quantguard: {of_gates}" + (f"; {of_tests}" if of_tests else "")


def worded_tests(results: Sequence[tuple[str, GateResult]]) -> str:
    """Count the tests by the worst of their outcomes, as pytest counts them; empty where none has several."""
    by_test: dict[str, set[str]] = {}
    for test, result in results:
        by_test.setdefault(test, set()).add(result.label)
    if all(len(labels) == 1 for labels in by_test.values()):
        return ""
    worst = [max(labels, key=LABELS.index) for labels in by_test.values()]
    return f"tests: {counted(worst)}"


def counted(labels: Iterable[str]) -> str:
    """Return how often there is each label, the best first."""
    counts = collections.Counter(labels)
    return ", ".join(f"{counts[name]} {name}" for name in LABELS if counts[name])
