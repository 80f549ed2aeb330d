"""Judging one recorded run against another."""

from quantguard.errors import UsageError
from quantguard.records import RunRecord, Verdict
from quantguard.verdict.accuracy import METRIC, AccuracyRule, judge_accuracy

# Two runs answer the same questions in the same way where these agree; the recipe is what is being compared.
_COMPARABLE = ("weights", "data", "prompt", "decoding", "scorer")


def judge(
    candidate_record: RunRecord, baseline_record: RunRecord, *, tol: float | None = 0.045, rtol: float | None = None
) -> Verdict:
    """Judge the accuracy of a run against another over the same items; see ``judge_accuracy`` for the rule.

    Runs of different models, data, prompts, decoding, scorers or platforms give ERROR. Raises UsageError for a
    tolerance that is no fraction.
    """
    for name, value in (("tol", tol), ("rtol", rtol)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"{name}={value!r}: the tolerance is a fraction between 0 and 1; 4.5 points are 0.045")
    if tol is None and rtol is None:
        raise UsageError("a tolerance is needed: tol, rtol or both")
    different = [
        key for key in _COMPARABLE if candidate_record.must_match.get(key) != baseline_record.must_match.get(key)
    ]
    if candidate_record.platform != baseline_record.platform:
        different.append("platform")
    if different:
        return Verdict(outcome="ERROR", metric=METRIC, reason=f"the runs differ in {', '.join(different)}")
    ids = tuple(dict.fromkeys(score.sample_id for score in baseline_record.scores))
    rule = AccuracyRule(tol=tol, rtol=rtol)
    return judge_accuracy(candidate_record.scores, baseline_record.scores, expected_ids=ids, rule=rule)
