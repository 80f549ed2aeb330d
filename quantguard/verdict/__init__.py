"""Judging, and nothing else: numbers in, Verdict out, no file and no model touched."""

from quantguard.verdict._evidence import Look
from quantguard.verdict.accuracy import USUAL_TOLERANCE, AccuracyRule, judge_accuracy, weigh_so_far
from quantguard.verdict.decoding import judge_decoding
from quantguard.verdict.plausible import note_on_gain, note_on_sameness, notes_on_full_precision
from quantguard.verdict.ratio import judge_ceiling, judge_speedup
from quantguard.verdict.reasoning import judge_length, judge_rate
from quantguard.verdict.records import judge
from quantguard.verdict.session import adjusted_p_values
from quantguard.verdict.worst import worst_of

__all__ = [
    "USUAL_TOLERANCE",
    "AccuracyRule",
    "Look",
    "adjusted_p_values",
    "judge",
    "judge_accuracy",
    "judge_ceiling",
    "judge_decoding",
    "judge_length",
    "judge_rate",
    "judge_speedup",
    "note_on_gain",
    "note_on_sameness",
    "notes_on_full_precision",
    "weigh_so_far",
    "worst_of",
]
