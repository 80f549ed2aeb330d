"""The rules that turn measurements into a Verdict: pure functions, which read no file and run no model."""

from quantguard.verdict._evidence import Analysis
from quantguard.verdict.accuracy import USUAL_TOLERANCE, AccuracyRule, interim_evidence, judge_accuracy
from quantguard.verdict.decode_gap import judge_decode_gap
from quantguard.verdict.multiplicity import adjusted_p_values
from quantguard.verdict.notes import note_on_equal_answers, note_on_gain, notes_on_full_precision
from quantguard.verdict.ratio import judge_ceiling, judge_speedup
from quantguard.verdict.reasoning import judge_length, judge_rate
from quantguard.verdict.run_records import judge
from quantguard.verdict.worst import worst_of

__all__ = [
    "USUAL_TOLERANCE",
    "AccuracyRule",
    "Analysis",
    "adjusted_p_values",
    "interim_evidence",
    "judge",
    "judge_accuracy",
    "judge_ceiling",
    "judge_decode_gap",
    "judge_length",
    "judge_rate",
    "judge_speedup",
    "note_on_equal_answers",
    "note_on_gain",
    "notes_on_full_precision",
    "worst_of",
]
