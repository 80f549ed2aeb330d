"""What a run shows while it goes on, in a real pseudo terminal and where there is none."""

import dataclasses
import io
import os
import sys
from collections.abc import Iterator

import pytest

from quantguard import stats
from quantguard.gates.accuracy.sequential import change_so_far
from quantguard.pipeline.display import displaying
from quantguard.pipeline.progress import bar, bar_or_lines
from quantguard.records import Score
from quantguard.verdict import AccuracyRule
from tests.support import pseudo_terminal
from tests.support.gate_runs import COMMITTED, write_gate

# A program on a terminal is waited for.
pytestmark = pytest.mark.timeout(300)

ESTIMATE = "-0.8 points (-3.1 to +1.5)"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR", "PY_COLORS", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def score(index: int, value: float) -> Score:
    return Score(
        sample_id=f"i{index}",
        epoch=0,
        value=value,
        answer=None,
        explanation="boxed",
        num_tokens=1,
        finish_reason="stop",
    )


def gates(pytester: pytest.Pytester, *options: str, columns: int) -> tuple[str, list[list[str]]]:
    write_gate(pytester)
    command = [sys.executable, "-m", "pytest", "--quantguard", f"--quantguard-baselines={COMMITTED}"]
    command += ["--quantguard-limit=80", f"--rootdir={pytester.path}", *options, str(pytester.path)]
    # With this pytester takes the colours from its runs.
    environment = {name: value for name, value in os.environ.items() if name != "PY_COLORS"}
    written, screens, status = pseudo_terminal.run(command, columns=columns, environment=environment)
    assert status == 0
    assert "quantguard: 1 PASS" in screens[-1]
    return written, screens


def drawn(screen: list[str]) -> list[int]:
    return [index for index, line in enumerate(screen) if "/80" in line]


@pytest.mark.parametrize(
    ("columns", "options", "colour"), [(80, (), True), (60, ("-s",), False)], ids=["80 columns", "60, no colour"]
)
def test_a_running_gate_shows_items_estimate_and_time_left_and_leaves_nothing_behind(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, columns: int, options: tuple[str, ...], *, colour: bool
) -> None:
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    written, screens = gates(pytester, *options, columns=columns)
    lines = [screen[index] for screen in screens for index in drawn(screen)]
    assert any(" points (" in line and " left" in line for line in lines)
    assert max(map(len, lines)) <= columns
    # pytest's own line is never touched: it stands above every line that is drawn, and goes on where it was.
    for screen in screens:
        for index in drawn(screen):
            assert screen[index - 1].startswith("test_release.py")
        assert len(drawn(screen)) <= 1
    assert not drawn(screens[-1])
    assert [line for line in screens[-1] if line.startswith("test_release.py .")]
    assert ("\x1b[32m" in written) == colour


def test_workers_draw_nothing(pytester: pytest.Pytester) -> None:
    _, screens = gates(pytester, "-n", "1", "-s", columns=80)
    assert not any(map(drawn, screens))


@pytest.fixture
def terminal() -> Iterator[io.TextIOWrapper]:
    ours, theirs = pseudo_terminal.open_terminal(80)
    with os.fdopen(theirs, "w", encoding="ascii") as stream:
        yield stream
    os.close(ours)


def test_a_terminal_is_drawn_on(terminal: io.TextIOWrapper) -> None:
    with bar(terminal)("label", 2) as advance:
        assert type(advance).__name__ == "method"
        advance(1)
        assert str(advance.__self__).startswith("1/2, 00:00 left: label [####")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_nothing_is_drawn_under_ci_and_on_a_dumb_terminal(
    terminal: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with bar(terminal)("label", 2) as advance:
        advance(1, note=_never)
        assert advance.__self__.disable  # type: ignore[attr-defined]


def test_nothing_is_written_and_nothing_worked_out_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with bar(stream)("label", 2) as advance:
        advance(1, note=_never)
    assert stream.getvalue() == ""


def _never() -> str:
    raise AssertionError("nobody sees this")


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (
            120,
            f"120/300, {ESTIMATE}, 00:06 left: w8a8 on word-problems [##################                             ]",
        ),
        (80, f"120/300, {ESTIMATE}, 00:06 left: w8a8 on word-problems [##     ]"),
        (60, f"120/300, {ESTIMATE}, 00:06 left: w8a8 on wor"),
        (49, f"120/300, {ESTIMATE}, 00:06 left: "),
        (20, "120/300, -0.8 points"),
    ],
)
def test_what_matters_least_is_left_out_first(
    terminal: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch, width: int, expected: str
) -> None:
    with bar(terminal)("w8a8 on word-problems", 300) as advance:
        meter = advance.__self__  # type: ignore[attr-defined]
        monkeypatch.setattr(meter, "_time", lambda: meter.start_t + 4)
        monkeypatch.setattr(meter, "dynamic_ncols", lambda _stream: (width, 24))
        advance(120, ESTIMATE)
        assert str(meter) == expected


def test_a_log_has_a_line_for_every_step() -> None:
    stream = io.StringIO()
    with bar_or_lines(stream)("label", 3) as advance:
        advance(1, resumed=True)
        advance(1, "one way")
        advance(1, lambda: "another")
    assert stream.getvalue().splitlines() == [
        "0/3, ? left: label",
        "1/3, ? left: label",
        "2/3, one way, 00:00 left: label",
        "3/3, another, 00:00 left: label",
    ]


def test_answers_of_an_earlier_run_do_not_make_the_rest_look_fast(
    terminal: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bar(terminal)("label", 100) as advance:
        meter_ = advance.__self__  # type: ignore[attr-defined]
        advance(90, resumed=True)
        assert "? left" in str(meter_)
        monkeypatch.setattr(meter_, "_time", lambda: meter_.start_t + 5)
        advance(5)
        assert "95/100, 00:05 left" in str(meter_)


def test_an_estimate_that_lags_says_how_many_items_it_is_of(terminal: io.TextIOWrapper) -> None:
    with displaying(bar(terminal), "label", 40, lambda scores: f"of {len(scores)}") as watch:
        for _ in range(10):
            watch.scored(score(0, 1.0))
        watch.answered(10)
        assert watch._note() == "of 10"
        watch.answered(10)
        assert watch._note() == "of 10 after 10"


def test_the_estimate_is_by_the_gates_own_statistics() -> None:
    old = [score(index, 1.0) for index in range(300)]
    new = [score(index, float(index >= 5)) for index in range(100)]
    rule = AccuracyRule(tol=0.045)
    low, high = stats.flip_bounds(stats.PairedCounts(gained=0, lost=5, n=100), alpha=0.05)
    words = f"-5.0 points ({100 * low:+.1f} to {100 * high:+.1f})"
    assert change_so_far(new, baseline=old, rule=rule, clusters=None) == words
    assert change_so_far(new[:1], baseline=old, rule=rule, clusters=None) == ""
    few = {f"i{index}": str(index % 3) for index in range(300)}
    assert change_so_far(new, baseline=old, rule=rule, clusters=few) == ""
    # The second of two epochs has only begun.
    twice = [*new, dataclasses.replace(new[0], epoch=1)]
    both = [*old, *(dataclasses.replace(one, epoch=1) for one in old)]
    assert change_so_far(twice, baseline=both, rule=rule, clusters=None).startswith("-5.0 points")
