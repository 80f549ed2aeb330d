"""The law of the scorer math: equal is said only of what is equal, and of all that is equal beyond dispute."""

import dataclasses
import itertools
import pathlib
import re
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from quantguard.errors import DataError
from quantguard.scorers import _answer_reader, _answer_types, _equality, _evaluator, _tokens, _units, _values, math

COUNTS = {"equal": 300, "different": 300, "disputed": 20}
# Large enough to hold 2006!, and numbers close to one another.
FRACTIONS = st.fractions(max_denominator=10**6) | st.integers(-(10**40), 10**40).map(Fraction)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A line of the file of pairs."""

    answer: str
    target: str
    equal: bool
    reason: str = ""


def pairs(section: str) -> list[Pair]:
    text = pathlib.Path(__file__).with_name("math_pairs.txt").read_text(encoding="utf-8")
    parts = re.split(r"^\[(equal|different|disputed)\]$", text, flags=re.MULTILINE)
    body = parts[parts.index(section) + 1]
    rows = [line.split(" ; ") for line in body.splitlines() if line.strip() and not line.startswith("#")]
    if section == "disputed":
        return [Pair(answer, target, verdict == "equal", reason) for answer, target, verdict, reason in rows]
    return [Pair(answer, target, section == "equal") for answer, target in rows]


def is_equal(answer: str, target: str) -> bool:
    """Tell what is said of two texts; a target that cannot be read is equal to nothing."""
    try:
        return math.compare(answer, target)[0] == 1.0
    except DataError:
        return False


def wrong(section: str) -> list[Pair]:
    """Return the pairs of which something else is said in one direction or the other."""
    return [
        pair
        for pair in pairs(section)
        if {is_equal(pair.answer, pair.target), is_equal(pair.target, pair.answer)} != {pair.equal}
    ]


@pytest.mark.parametrize("section", COUNTS)
def test_of_hand_checked_pairs_every_one_is_told_right_in_both_directions(section: str) -> None:
    found = pairs(section)
    assert len(found) >= COUNTS[section]
    assert len({(pair.answer, pair.target) for pair in found}) == len(found)
    assert wrong(section) == []


def test_a_disputed_pair_says_why() -> None:
    assert all(len(pair.reason) > 10 for pair in pairs("disputed"))


@pytest.mark.parametrize("section", ["equal", "different"])
def test_every_target_of_an_undisputed_pair_can_be_read(section: str) -> None:
    for pair in pairs(section):
        math.compare("5", pair.target)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object, object, object], None]]:
    """Replace a part of the scorer, of which nothing may be remembered before or after."""

    def change(where: object, name: object, what: object) -> None:
        forget()
        if isinstance(where, dict):
            monkeypatch.setitem(where, name, what)
        else:
            monkeypatch.setattr(where, str(name), what)

    yield change
    forget()


def forget() -> None:
    _answer_reader.read.cache_clear()
    math._wanted.cache_clear()


def loose(_context: object, _rough: object, values: tuple[complex, complex], _bits: int) -> bool:
    """Compare to six decimals, as graders do."""
    return abs(complex(values[0]) - complex(values[1])) < 1e-6


@pytest.mark.parametrize(
    ("where", "name", "what", "missed"),
    [
        pytest.param(_values, "_POINTS", 1, r"|x| ; x", id="unknowns are tried at one point"),
        pytest.param(_values, "_came_closer", loose, r"e^{10^{-80}} ; 1", id="digits are absolute"),
        pytest.param(_evaluator.Evaluator, "_note", lambda *_: None, r"\sqrt{2}+e^{-400} ; \sqrt{2}", id="few digits"),
        pytest.param(_tokens, "_GROUPS", re.compile(r"[0-9]+(?:,[0-9]+)+"), "12,5 ; 125", id="any row of commas"),
        pytest.param(
            _equality._SAME, _answer_types.Ordered, lambda a, b: a.parts == b.parts, "(1,2) ; [1,2]", id="brackets"
        ),
        pytest.param(_equality, "_matched", _equality._within, "1, 1, 2 ; 1, 2, 2", id="a list as a set"),
        pytest.param(_equality, "proportion", lambda *_: 1, "x^2 = 4 ; x^3 = 8", id="any equations"),
        pytest.param(_equality, "UNKNOWN_UNIT", "m", r"5\text{ cm} ; 5\text{ m}", id="units do not count"),
        pytest.param(_units, "_FACTORS", {}, r"5\text{ million} ; 5000000", id="number words are units"),
    ],
)
def test_a_scorer_that_says_equal_of_more_is_told_by_a_pair(
    where: object, name: object, what: object, missed: str, plant: Callable[[object, object, object], None]
) -> None:
    answer, target = missed.split(" ; ")
    before = is_equal(answer, target)
    plant(where, name, what)
    assert is_equal(answer, target) != before


def spellings(value: Fraction) -> list[str]:
    """Return ways to write a rational number."""
    sign, size = "-" if value < 0 else "", abs(value)
    above, below = size.numerator, size.denominator
    ways = [
        rf"{sign}\frac{{{above}}}{{{below}}}",
        rf"\dfrac{{{sign}{3 * above}}}{{{3 * below}}}",
        f"{sign}{above}/{below}",
        f"({sign}{2 * above})/{2 * below}",
        rf"{sign}{above} \cdot {below}^{{-1}}",
        rf"{sign}\left(\frac{{{above}}}{{{below}}}\right)",
        rf"x = {sign}\frac{{{above}}}{{{below}}}",
        rf"\frac{{{sign}{above}}}{{{below}}}+\sqrt{{2}}-\sqrt{{2}}",
    ]
    if below == 1:
        ways += [
            f"{sign}{above}",
            f"{sign}{above:,}",
            f"{sign}{above}.0",
            f"\\${sign}{above}",
            f"{sign}{above:,}".replace(",", "{,}"),
        ]
    elif above > below:
        ways.append(rf"{sign}{above // below}\frac{{{above % below}}}{{{below}}}")
    if (10**12) % below == 0:
        ways.append(f"{sign}{above * 10**12 // below // 10**12}.{above * 10**12 // below % 10**12:012d}")
    return ways


@settings(deadline=None, max_examples=60)
@given(value=FRACTIONS, data=st.data())
def test_a_rational_number_is_equal_to_itself_however_it_is_written(value: Fraction, data: st.DataObject) -> None:
    left, right = (data.draw(st.sampled_from(spellings(value))) for _ in range(2))
    assert is_equal(left, right), (left, right)


@settings(deadline=None, max_examples=60)
@given(first=FRACTIONS, second=FRACTIONS, data=st.data())
@example(first=Fraction(1, 10**40), second=Fraction(0), data=None)
@example(first=Fraction(10**40 + 1), second=Fraction(10**40), data=None)
def test_two_rational_numbers_are_never_equal(first: Fraction, second: Fraction, data: st.DataObject | None) -> None:
    assume(first != second)
    for scale in (Fraction(1), Fraction(1, 10**50), Fraction(10**50)):
        ways = spellings(first * scale), spellings(second * scale)
        chosen = [way[0] if data is None else data.draw(st.sampled_from(way)) for way in ways]
        assert not is_equal(*chosen), chosen


@settings(deadline=None, max_examples=60)
@given(
    value=st.integers(1, 10**6),
    power=st.integers(-300, 300),
    distance=st.integers(1, 290),
    root=st.sampled_from([2, 3, 5]),
)
def test_what_differs_in_any_digit_is_not_equal_whatever_its_size(
    value: int, power: int, distance: int, root: int
) -> None:
    base = rf"{value}\sqrt{{{root}}} \cdot 10^{{{power}}}"
    near = rf"{value}\sqrt{{{root}}} \cdot 10^{{{power}}} + 10^{{{power - distance}}}"
    moved = rf"10^{{{power}}}\sqrt{{{root * value * value}}}"
    assert is_equal(base, moved)
    assert not is_equal(base, near)
    assert not is_equal(base, rf"{value}\sqrt{{{root}}} \cdot 10^{{{power + 1}}}")


NUMBERS = st.lists(st.integers(-20, 20), min_size=2, max_size=5)


@settings(deadline=None, max_examples=60)
@given(numbers=NUMBERS, others=NUMBERS)
def test_order_counts_between_brackets_and_nowhere_else(numbers: list[int], others: list[int]) -> None:
    for listed in (numbers[::-1], others):
        left, right = (", ".join(map(str, side)) for side in (numbers, listed))
        assert is_equal(left, right) == (sorted(numbers) == sorted(listed))
        assert is_equal(rf"\{{{left}\}}", rf"\{{{right}\}}") == (set(numbers) == set(listed))
        for opens, closes in (("(", ")"), ("[", "]"), ("(", "]"), (r"\langle ", r"\rangle")):
            assert is_equal(opens + left + closes, opens + right + closes) == (numbers == listed)
            assert not is_equal(opens + left + closes, rf"\{{{left}\}}")
        assert not is_equal(f"({left})", f"[{right}]")


@settings(deadline=None, max_examples=60)
@given(digits=st.lists(st.text("0123456789", min_size=1, max_size=4), min_size=2, max_size=4))
def test_commas_set_groups_of_three_apart_or_a_list(digits: list[str]) -> None:
    text, joined = ",".join(digits), "".join(digits)
    first, *groups = digits
    grouped = len(first) <= 3 and not first.startswith("0") and all(len(group) == 3 for group in groups)
    assert is_equal(text, joined) == grouped
    assert not is_equal(f"({text})", joined)


POLYNOMIALS = st.lists(st.integers(-9, 9), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(first=POLYNOMIALS, second=POLYNOMIALS)
def test_polynomials_are_equal_where_their_coefficients_are(first: list[int], second: list[int]) -> None:
    padded = [side + [0] * (5 - len(side)) for side in (first, second)]
    for listed in (first, second):
        powers = " + ".join(f"({factor})x^{{{power}}}" for power, factor in reversed([*enumerate(listed)]))
        nested = "0"
        for factor in reversed(first):
            nested = f"({nested}) \\cdot x + ({factor})"
        assert is_equal(nested, powers) == (padded[0] == [*listed, *[0] * (5 - len(listed))])


PIECES = st.sampled_from(
    [
        *(r"\frac", r"\sqrt", r"\binom", r"\log", r"\sin", r"\ln", r"\pi", r"\infty", r"\cup", r"\in", r"\pm", r"\le"),
        *(r"\text{cm}", r"\text{or}", r"\%", "^\\circ", r"\{", r"\}", r"\begin{pmatrix}", r"\end{pmatrix}", r"\\", "&"),
        *("{", "}", "(", ")", "[", "]", "1", "2", "10", "0", "1,000", "0.5", "99999", "x", "y", "i", "e", "abc"),
        *("^", "_", "+", "-", "*", "/", "=", "<", ",", "!", "|", ".", r"\ldots", "$", r"\$", ":", "'", r"\boxed{"),
    ]
)


@settings(deadline=None, max_examples=300)
@given(answer=st.lists(PIECES, max_size=12).map("".join), target=st.lists(PIECES, max_size=5).map("".join))
def test_whatever_a_box_holds_is_compared_or_told_to_be_unreadable_and_soon(answer: str, target: str) -> None:
    started = time.process_time()
    forward, backward = is_equal(answer, target), is_equal(target, answer)
    assert forward == backward
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("{" * 5000 + "5" + "}" * 5000, id="braces"),
        pytest.param("(" * 400 + "5" + ")" * 400, id="brackets"),
        pytest.param(r"\sqrt{" * 60 + "5" + "}" * 60, id="roots"),
        pytest.param("9^{9^{9^{9}}}", id="a tower of powers"),
        pytest.param("99999!!", id="two factorial signs"),
        pytest.param("((9!)!)!", id="factorials of factorials"),
        pytest.param(r"10^{10^{10}}", id="more digits than fit"),
        pytest.param("(0.3^{1000})!", id="the gamma function of almost nothing"),
        pytest.param(r"2^{99999999999999999999}", id="a large power"),
        pytest.param("1" * 100_000, id="a long number"),
        pytest.param("1e999999999", id="a large exponent"),
        pytest.param(r"\binom{99999}{5000}", id="a large binomial coefficient"),
        pytest.param("x+" * 450 + "x", id="a long sum"),
        pytest.param(",".join("1" * 400), id="a long list"),
        pytest.param(r"\pm 1" * 100, id="many signs"),
    ],
)
def test_an_answer_that_would_keep_the_scorer_busy_is_soon_done_with(answer: str) -> None:
    started = time.process_time()
    assert math.compare(answer, "7")[0] == 0.0
    assert time.process_time() - started < 5


def test_three_readings_of_one_answer_are_equal_in_every_direction() -> None:
    for left, right in itertools.permutations((r"\frac{1}{2}", "0.5", r"50\%", r"2^{-1}", r"\cos 60^\circ"), 2):
        assert is_equal(left, right)
