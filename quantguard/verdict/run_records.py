"""The accuracy rule for two run records: are they comparable, and has accuracy fallen?"""

import dataclasses

from quantguard.errors import UsageError
from quantguard.records import RunRecord, Verdict
from quantguard.verdict.accuracy import METRIC, AccuracyRule, judge_accuracy
from quantguard.verdict.notes import note_on_gain


def judge(
    candidate_record: RunRecord, baseline_record: RunRecord, *, tol: float | None = 0.045, rtol: float | None = None
) -> Verdict:
    """Judge the accuracy of a run against another over the same items by the rule of ``judge_accuracy``.

    ERROR if the runs differ in model, data, prompt, decoding, scorer or platform. Raises UsageError for a tolerance
    that is not a fraction.
    """
    for name, value in (("tol", tol), ("rtol", rtol)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"{name}={value!r}: the tolerance is a fraction between 0 and 1; 4.5 points are 0.045")
    if tol is None and rtol is None:
        raise UsageError("a tolerance is needed: tol, rtol or both")
    ours, theirs = candidate_record.fingerprint, baseline_record.fingerprint
    # The recipe is what is being compared, on whatever it ran.
    questions = ours.question.differences(theirs.question)
    models = ours.model.before_quantization().differences(theirs.model.before_quantization())
    different = [difference.name for difference in (*questions, *models)]
    if candidate_record.platform != baseline_record.platform:
        different.append("platform")
    if different:
        return Verdict(outcome="ERROR", metric=METRIC, reason=f"the runs differ in {', '.join(different)}")
    ids = tuple(dict.fromkeys(score.sample_id for score in baseline_record.scores))
    rule = AccuracyRule(tol=tol, rtol=rtol)
    verdict = judge_accuracy(candidate_record.scores, baseline_record.scores, expected_ids=ids, rule=rule)
    # One of two recipes may well be better than the other, but none is better than full precision.
    if baseline_record.recipe is not None or baseline_record.served:
        return verdict
    gain = note_on_gain(candidate_record.scores, baseline_record.scores, named="full precision")
    return verdict if gain is None else dataclasses.replace(verdict, reason=f"{verdict.reason}; {gain}")
