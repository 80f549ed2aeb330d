"""Verdicts as lines of plain text, for the terminal and JUnit."""

import collections
from collections.abc import Iterable, Sequence

from quantguard.gates import GateResult
from quantguard.records import RunRecord
from quantguard.records.judgement import OUTCOMES
from quantguard.report.visible_text import visible

# The outcomes of gates and of whole tests, from best to worst.
LABELS = ("PASS", "MEASURED", "SKIPPED", *OUTCOMES[1:-1], "NOT RUN", "ERROR")


def gate_lines(results: Sequence[GateResult], *, with_tracebacks: bool = False) -> list[str]:
    """Write a headline for each result, with its reason, kernels, notes and traceback indented below."""
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
    # Text from models and servers must neither control the terminal nor look like a line of ours.
    return [visible(line).replace("\n", "\n        ") for line in lines]


def record_line(record: RunRecord) -> str:
    """Write the accuracy, the rates and the kernels of a run in one line."""
    metrics = record.metrics
    no_kernels = "as served" if record.served else "full precision"
    kernels = "; ".join(f"{op} on {backend}" for op, backend in record.kernels.items()) or no_kernels
    if record.generation_config is None:
        return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()) + f"; {kernels}"
    unjudged = f" not judged {metrics['unjudged']:.1%}," if metrics.get("unjudged") else ""
    ratio = f" ({metrics['length_ratio']:.2f} of full precision's)" if "length_ratio" in metrics else ""
    return (
        f"accuracy {metrics['accuracy']:.1%}, truncated {metrics['truncated']:.1%},"
        f" no answer {metrics['unparsed']:.1%},{unjudged} repeating {metrics['repeating']:.1%},"
        f" {metrics['mean_num_tokens']:.0f} tokens an answer{ratio}; {kernels}"
    )


def title(result: GateResult) -> str:
    """Name the subject of a result: a gate with its model, or a whole test."""
    if result.of_test:
        return f"{result.gate}: {result.subject}"
    return f"{result.gate}: {result.subject} on {result.model}, {result.recipe} ({result.platform})"


def closing_line(results: Sequence[tuple[str, GateResult]]) -> str:
    """Count the outcomes of gates, and those of tests too if a test has several gates."""
    if not results:
        return "quantguard: no gate was decided"
    of_gates = counted(result.label for _, result in results)
    of_tests = test_counts(results)
    return f"quantguard: {of_gates}" + (f"; {of_tests}" if of_tests else "")


def test_counts(results: Sequence[tuple[str, GateResult]]) -> str:
    """Count the tests by their worst outcome, as pytest counts them; empty if no test has several outcomes."""
    by_test: dict[str, set[str]] = {}
    for test, result in results:
        by_test.setdefault(test, set()).add(result.label)
    if all(len(labels) == 1 for labels in by_test.values()):
        return ""
    worst = [max(labels, key=LABELS.index) for labels in by_test.values()]
    return f"tests: {counted(worst)}"


def counted(labels: Iterable[str]) -> str:
    """Count the labels, best first."""
    counts = collections.Counter(labels)
    return ", ".join(f"{counts[name]} {name}" for name in LABELS if counts[name])
