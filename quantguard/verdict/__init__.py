"""Judging, and nothing else: numbers in, Verdict out, no file and no model touched."""

from quantguard.verdict.accuracy import AccuracyRule, judge_accuracy
from quantguard.verdict.ratio import judge_ceiling, judge_speedup
from quantguard.verdict.records import judge

__all__ = ["AccuracyRule", "judge", "judge_accuracy", "judge_ceiling", "judge_speedup"]
