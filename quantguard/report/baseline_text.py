"""Stored baselines as lines of text: their content, the differences between two of them, and their history."""

import statistics
from collections.abc import Sequence

from quantguard.baselines import Baseline, BaselineItem, LayerProfile
from quantguard.baselines.history import Point
from quantguard.gates.layerwise import distances
from quantguard.records import Verdict
from quantguard.report.visible_text import in_one_line
from quantguard.verdict import AccuracyRule, judge_accuracy

Stored = Baseline | LayerProfile
_MOST_ITEMS = 20
_SIDES = {"accepted": "baseline", "full precision": "reference"}


def summary(stored: Stored) -> list[str]:
    """Summarise the content of a baseline or layer profile, line by line."""
    facts = [f"  {key:<15} {value}" for key, value in sorted({**stored.recorded, **stored.fingerprint.facts()}.items())]
    if isinstance(stored, LayerProfile):
        head = f"layers of {stored.model}, {stored.recipe} ({stored.platform}), {len(stored.layers)} layers and blocks"
        return [head, _accepted(stored), *facts]
    rule = AccuracyRule(tol=0.045)
    verdict = judge_accuracy(
        stored.scores("baseline"), stored.scores("reference"), expected_ids=stored.sample_ids, rule=rule
    )
    return [
        f"{_subject(stored)}, {len(stored.items)} answers",
        *[f"  {side:<15} {_accuracy(stored, against):.1%}" for side, against in _SIDES.items()],
        f"  between the two {verdict.reason}",
        _accepted(stored),
        *facts,
    ]


def compare(old: Baseline, new: Baseline, *, tol: float) -> Verdict:
    """Judge the accepted run of the newer baseline against that of the older, over the items they share."""
    shared = tuple(id_ for id_ in old.sample_ids if id_ in set(new.sample_ids))
    return judge_accuracy(
        new.scores("baseline"), old.scores("baseline"), expected_ids=shared, rule=AccuracyRule(tol=tol)
    )


def diff_lines(old: Baseline, new: Baseline, verdict: Verdict) -> list[str]:
    """List how two baselines differ: names, accuracies, items, fingerprint, acceptance and verdict."""
    lines = [_subject(old), *([f"and {_subject(new)}"] if _subject(new) != _subject(old) else [])]
    for side, against in _SIDES.items():
        before, after = _accuracy(old, against), _accuracy(new, against)
        lines.append(f"  {side:<15} {before:.1%} -> {after:.1%} ({(after - before) * 100:+.1f} points)")
    lines += _items(old, new)
    return [*lines, *_facts(old, new), f"  {verdict.outcome:<15} {verdict.reason}"]


def diff_layers(old: LayerProfile, new: LayerProfile) -> list[str]:
    """List how two layer profiles differ: the layers that moved most, and the fingerprint."""
    lines = [f"layers of {new.model}, {new.recipe} ({new.platform})"]
    if [layer.name for layer in old.layers] == [layer.name for layer in new.layers]:
        found = sorted(distances(new.layers, old.layers), key=lambda error: -error.relative_error)[:_MOST_ITEMS]
        moved = [f"  {error.name:<40} {error.relative_error:.2%}" for error in found if error.relative_error > 0]
        lines += moved or ["  every layer is the same"]
    else:
        lines.append(f"  {len(old.layers)} layers and blocks -> {len(new.layers)}, not the same ones")
    return [*lines, *_facts(old, new)]


def history_lines(points: Sequence[Point]) -> list[str]:
    """Describe each commit of a baseline, newest first: accuracy and change, who accepted it and why."""
    lines = []
    before: float | None = None
    for point in points:
        head = f"{point.commit}  {point.day}"
        if point.accepted is not None and point.reference is not None:
            change = "" if before is None else f" ({(point.accepted - before) * 100:+.1f} points)"
            head += f"  {point.accepted:.1%}{change} of {point.num_items}, full precision {point.reference:.1%}"
            before = point.accepted
        elif point.num_items:
            head += f"  {point.num_items} layers and blocks"
        details = [f"accepted by {point.by}: {point.why}"] if point.by else []
        details += [f"NOT VALID: {point.problem}"] if point.problem else []
        details.append(f"commit by {point.author}: {point.subject}")
        lines.append("\n".join([head, *(f"    {in_one_line(line, 200)}" for line in details)]))
    # A change is told against the commit before, so the lines are made oldest first and then turned round.
    return lines[::-1]


def _subject(stored: Baseline) -> str:
    return f"{stored.benchmark} on {stored.model}, {stored.recipe} ({stored.platform})"


def _accepted(stored: Stored) -> str:
    accepted = stored.acceptance
    return f"  accepted        by {accepted.by} on {accepted.on}: {accepted.why}"


def _accuracy(stored: Baseline, against: str) -> float:
    return statistics.fmean(score.value for score in stored.scores(against) if score.value is not None)


def _items(old: Baseline, new: Baseline) -> list[str]:
    then, now = ({(item.sample_id, item.epoch): item for item in stored.items} for stored in (old, new))
    both = [(then[key], now[key]) for key in then if key in now]
    groups: dict[str, list[str]] = {"lost": [], "gained": []}
    for before, after in both:
        change = (after.accepted.value or 0.0) - (before.accepted.value or 0.0)
        if change:
            groups["lost" if change < 0 else "gained"].append(_flip(before, after))
    lines = [
        line
        for name, flips in groups.items()
        for line in (
            f"  {name:<15} {len(flips)} of {len(both)}",
            *flips[:_MOST_ITEMS],
            *([f"    and {len(flips) - _MOST_ITEMS} more"] if len(flips) > _MOST_ITEMS else []),
        )
    ]
    gone, come = len(then) - len(both), len(now) - len(both)
    return [
        *lines,
        *([f"  {'other items':<15} {gone} of the first alone, {come} of the second"] if gone + come else []),
    ]


def _flip(before: BaselineItem, after: BaselineItem) -> str:
    answers = [in_one_line(item.accepted.answer or item.accepted.explanation, 40) for item in (before, after)]
    return f"    {after.sample_id}: {answers[0]} -> {answers[1]}"


def _facts(old: Stored, new: Stored) -> list[str]:
    """List the fingerprint fields that differ, and both acceptances if they differ."""
    lines = [
        f"  {name:<15} {then or 'absent'} -> {now or 'absent'} (must match)"
        for name, then, now in old.fingerprint.differences(new.fingerprint)
    ]
    lines += [
        f"  {key:<15} {old.recorded.get(key, 'absent')} -> {new.recorded.get(key, 'absent')} (recorded)"
        for key in sorted({*old.recorded, *new.recorded})
        if old.recorded.get(key) != new.recorded.get(key)
    ]
    if old.acceptance != new.acceptance:
        lines += [_accepted(old), _accepted(new)]
    return lines
