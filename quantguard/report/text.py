"""Verdicts as lines of text."""

import collections
from collections.abc import Sequence

from quantguard.gates import GateResult
from quantguard.records import RunRecord
from quantguard.records.judgement import OUTCOMES
from quantguard.report.wording import visible


def gate_lines(results: Sequence[GateResult]) -> list[str]:
    """Return a headline for each result with the reason, kernels and notes indented below."""
    lines = []
    for result in results:
        lines.append(
            f"{result.label:<12} {result.gate}: {result.subject} on {result.model}, {result.recipe} ({result.platform})"
        )
        details = [result.verdict.reason]
        if result.record is not None:
            details.append(record_line(result.record))
        details += [f"note: {note}" for note in result.notes]
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


def closing_line(results: Sequence[GateResult]) -> str:
    """Count the outcomes."""
    counts = collections.Counter(result.label for result in results)
    if not counts:
        return "quantguard: no gate was decided"
    return "quantguard: " + ", ".join(f"{counts[name]} {name}" for name in (*OUTCOMES, "MEASURED") if counts[name])
