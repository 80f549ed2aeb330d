"""Bounds, bets and looks: known values, laws, and planted faults that a simulation finds."""

import math
from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from quantguard import stats
from quantguard.stats import PairedCounts, betting
from quantguard.stats.sequential import FRACTIONS, SHARES

MARGIN = 0.045
COUNTS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(80, 400)).map(lambda t: PairedCounts(*t))


@given(COUNTS)
@settings(max_examples=60, deadline=None)
def test_bounds_are_symmetric_hold_the_estimate_and_are_outside_tangos(counts: PairedCounts) -> None:
    low, high = stats.flip_bounds(counts, alpha=0.05)
    mirrored = stats.flip_bounds(PairedCounts(counts.lost, counts.gained, counts.n), alpha=0.05)
    assert (low, high) == pytest.approx((-mirrored[1], -mirrored[0]))
    assert -1 <= low <= (counts.gained - counts.lost) / counts.n <= high <= 1
    if counts.gained + counts.lost:
        tango = stats.tango_bounds(counts, alpha=0.05)
        assert low <= tango[0] + 1e-9
        assert high >= tango[1] - 1e-9


@given(COUNTS, st.sampled_from([0.002, 0.02, 0.05]))
@settings(max_examples=60, deadline=None)
def test_bounds_fall_with_every_item_that_is_lost(counts: PairedCounts, alpha: float) -> None:
    worse = PairedCounts(counts.gained, counts.lost + 1, counts.n)
    before, after = stats.flip_bounds(counts, alpha=alpha), stats.flip_bounds(worse, alpha=alpha)
    assert after[0] < before[0]
    # From no flip to one lost the upper bound changes its kind: the exact one, then Tango's.
    assert counts.lost == 0 or after[1] < before[1]


@given(COUNTS, st.sampled_from([0.02, MARGIN, 0.1]), st.sampled_from([0.002, 0.02, 0.05]))
@settings(max_examples=150, deadline=None)
def test_a_drop_is_excluded_where_the_bound_says_so(counts: PairedCounts, margin: float, alpha: float) -> None:
    low, high = stats.flip_bounds(counts, alpha=alpha)
    gained, lost = np.array([counts.gained]), np.array([counts.lost])
    if abs(low + margin) > 1e-9:
        assert bool(stats.excludes_drop(gained, lost, counts.n, margin=margin, alpha=alpha)[0]) == (low > -margin)
    if abs(high + margin) > 1e-9:
        assert bool(stats.excludes_drop(lost, gained, counts.n, margin=-margin, alpha=alpha)[0]) == (high < -margin)


@pytest.mark.parametrize("lost", [0, 1, 7])
def test_where_nothing_is_gained_the_bound_is_no_tighter_than_the_exact_one(lost: int) -> None:
    _, high = proportion_confint(lost, 200, alpha=0.1, method="beta")
    assert stats.flip_bounds(PairedCounts(0, lost, 200), alpha=0.05)[0] <= -high + 1e-12


def exact_rate_of_wrong_pass(
    n: int, margin: float, flip_rate: float, decide: Callable[..., npt.NDArray[np.bool_]]
) -> float:
    """Sum the probability of every pair of counts that passes while the drop is just the margin."""
    gained, lost = (a.ravel() for a in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    gained, lost = gained[gained + lost <= n], lost[gained + lost <= n]
    wrong = decide(gained, lost, n, margin=margin, alpha=0.05)
    rates = [(flip_rate - margin) / 2, (flip_rate + margin) / 2, 1 - flip_rate]
    table = np.stack([gained, lost, n - gained - lost], axis=1)[wrong]
    return float(scipy_stats.multinomial.pmf(table, n, rates).sum())


@pytest.mark.parametrize("n", [30, 40, 60, 100, 164, 300])
@pytest.mark.parametrize("margin", [0.02, MARGIN, 0.2])
def test_a_wrong_pass_is_as_rare_as_stated_exactly(n: int, margin: float) -> None:
    for extra in (0.0, 0.003, 0.05, 0.15):
        assert exact_rate_of_wrong_pass(n, margin, margin + extra, stats.excludes_drop) <= 0.05


def test_planted_tango_alone_errs_too_often() -> None:
    def tango_alone(
        gained: npt.NDArray[np.int64], lost: npt.NDArray[np.int64], n: int, *, margin: float, alpha: float
    ) -> npt.NDArray[np.bool_]:
        bounds = [
            g + k > 40 or stats.tango_bounds(PairedCounts(g, k, n), alpha=alpha)[0] > -margin
            for g, k in zip(gained.tolist(), lost.tolist(), strict=True)
            if g + k <= 40
        ]
        passed = np.zeros(len(gained), dtype=bool)
        passed[gained + lost <= 40] = bounds
        return passed

    assert exact_rate_of_wrong_pass(164, MARGIN, MARGIN, tango_alone) > 0.055


def test_clustered_bounds_are_those_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 25, 200)
    differences = rng.choice([-1.0, 0.0, 1.0], 200, p=[0.15, 0.75, 0.1])
    fitted = sm.OLS(differences, np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    low, high, p_drop = stats.clustered_bounds(list(differences), list(clusters), alpha=0.05)
    assert (low, high) == pytest.approx(tuple(fitted.conf_int(alpha=0.1)[0]))
    assert p_drop == pytest.approx(scipy_stats.t.cdf(fitted.tvalues[0], len(set(clusters)) - 1))
    with pytest.raises(ValueError, match="1 clusters"):
        stats.clustered_bounds([0.0, 1.0], ["a", "a"], alpha=0.05)


def test_clusters_of_one_are_single_items() -> None:
    differences = [0.0, 0.25, -0.5, 0.0, -0.25, 0.0, -0.75]
    alone = stats.clustered_bounds(differences, range(7), alpha=0.05)
    assert alone == pytest.approx(stats.mean_bounds(differences, alpha=0.05))


def test_clustered_items_need_clustered_bounds() -> None:
    rng = np.random.default_rng(1)
    wrong = {"items": 0, "clusters": 0}
    for _ in range(400):
        clusters = np.repeat(np.arange(30), 5)
        differences = list(np.repeat(rng.choice([-1.0, 0.0, 1.0], 30, p=[0.1, 0.8, 0.1]), 5))
        wrong["items"] += stats.mean_bounds(differences, alpha=0.05)[1] < 0
        wrong["clusters"] += stats.clustered_bounds(differences, list(clusters), alpha=0.05)[1] < 0
    assert wrong["clusters"] / 400 < 0.08
    assert wrong["items"] / 400 > 0.15


@pytest.mark.parametrize("count", [1, 2, 12])
def test_holm_is_that_of_statsmodels(count: int) -> None:
    for scale in (1.0, 0.05):
        p_values = list(np.random.default_rng(count).random(count) * scale)
        assert stats.holm(p_values) == pytest.approx(tuple(multipletests(p_values, method="holm")[1]))


def items(rng: np.random.Generator, runs: int, n: int, *, flips: float, drop: float) -> npt.NDArray[np.float64]:
    """Draw differences of -1, 0 and 1, shape ``[runs, n]``."""
    uniform = rng.random((runs, n))
    lost, gained = uniform < (flips + drop) / 2, uniform > 1 - (flips - drop) / 2
    return gained.astype(np.float64) - lost


def ever_rich(wealth: npt.NDArray[np.float64], alpha: float) -> float:
    return float(np.mean(wealth.max(axis=-1) >= math.log(1 / alpha)))


@pytest.mark.parametrize("flips", [0.05, 0.2])
def test_a_bettor_hardly_ever_gets_rich_while_the_drop_is_the_margin(flips: float) -> None:
    wealth = stats.log_wealth(items(np.random.default_rng(2), 4000, 500, flips=flips, drop=MARGIN), -MARGIN)
    assert ever_rich(wealth, 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


def test_planted_a_bettor_who_peeks_at_the_current_item_gets_rich() -> None:
    drawn = items(np.random.default_rng(2), 1000, 500, flips=0.2, drop=MARGIN)
    peeked = np.concatenate([drawn[:, 1:], drawn[:, -1:]], axis=1)

    def wealth_of_a_peeker(differences: npt.NDArray[np.float64], null: float) -> npt.NDArray[np.float64]:
        stake = np.where(peeked > 0, 0.3, 0.0)
        return np.asarray(np.cumsum(np.log1p(stake * (np.roll(differences, -1, axis=1) - null)), axis=1))

    assert ever_rich(wealth_of_a_peeker(drawn, -MARGIN), 0.05) > 0.5


def test_planted_a_mirrored_sign_is_found() -> None:
    drawn = items(np.random.default_rng(3), 500, 500, flips=0.1, drop=2 * MARGIN)
    assert ever_rich(stats.log_wealth(-drawn, -MARGIN), 0.05) > 0.5
    assert ever_rich(stats.log_wealth(drawn, -MARGIN), 0.05) < 0.02


def test_the_wealth_after_an_item_does_not_depend_on_later_ones() -> None:
    drawn = items(np.random.default_rng(4), 5, 100, flips=0.3, drop=0.0)
    assert np.array_equal(stats.log_wealth(drawn, -0.1)[:, :40], stats.log_wealth(drawn[:, :40], -0.1))


def test_the_stake_never_risks_everything() -> None:
    worst = -np.ones((1, 50))
    assert np.all(np.isfinite(stats.log_wealth(worst, betting._GRID)))


def test_betting_bounds_hold_the_mean_and_mirror() -> None:
    drawn = items(np.random.default_rng(5), 1, 300, flips=0.1, drop=0.0)[0]
    low, high = stats.betting_bounds(drawn, alpha=0.05)
    assert low < drawn.mean() < high
    assert stats.betting_bounds(-drawn, alpha=0.05) == (-high, -low)
    assert low > -0.12


def test_planted_looking_often_at_the_whole_level_errs_too_often() -> None:
    honest = stats.stages("group-sequential", 500, alpha=0.05)
    greedy = tuple(stage._replace(level=0.05) for stage in honest)
    rates = {
        name: stats.chances(looks, margin=MARGIN, flip_rate=0.2, drop=MARGIN).passes
        for name, looks in (("honest", honest), ("greedy", greedy))
    }
    assert rates["honest"] <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 10_000)
    assert rates["greedy"] > 0.08


@given(st.sampled_from(stats.METHODS), st.integers(2, 3000))
def test_looks_grow_and_end_at_all_items(method: stats.Method, num_items: int) -> None:
    looks = stats.stages(method, num_items, alpha=0.05)
    counts = [look.num_items for look in looks]
    assert counts == sorted(set(counts))
    assert counts[-1] == num_items
    assert not looks[-1].betting
    assert all(0 < look.level <= 0.05 for look in looks)


def test_short_runs_and_runs_without_early_stopping_have_one_look_at_the_whole_level() -> None:
    assert stats.stages("group-sequential", 199, alpha=0.05) == (stats.Stage(199, 0.05),)
    assert stats.stages("off", 1000, alpha=0.05) == (stats.Stage(1000, 0.05),)
    assert len(FRACTIONS) == len(SHARES) == len(stats.stages("group-sequential", 500, alpha=0.05))


@pytest.mark.parametrize("method", stats.METHODS)
def test_chances_are_those_of_the_judgement_itself(method: stats.Method) -> None:
    """The same draws, once by the arrays of the simulation and once by the bounds of single verdicts."""
    looks = stats.stages(method, 300, alpha=0.05)
    rng, count, passed = np.random.default_rng(6), 40 if method == "betting" else 300, 0
    for run in items(rng, count, 300, flips=0.1, drop=0.0):
        for look in looks:
            seen = run[: look.num_items]
            counts = PairedCounts(int(np.sum(seen > 0)), int(np.sum(seen < 0)), look.num_items)
            bounds = (
                stats.betting_bounds(seen, alpha=look.level)
                if look.betting
                else stats.flip_bounds(counts, alpha=look.level)
            )
            if bounds[0] > -MARGIN:
                passed += 1
            if bounds[0] > -MARGIN or bounds[1] < -MARGIN:
                break
    expected = stats.chances(looks, margin=MARGIN, flip_rate=0.1, num_runs=3000).passes
    assert passed / count == pytest.approx(expected, abs=3.5 * math.sqrt(expected * (1 - expected) / count))


def test_items_needed_are_those_of_the_exact_bound_where_nothing_flips() -> None:
    assert stats.items_needed(margin=MARGIN, flip_rate=0, power=0.5) == 66
    some = stats.items_needed(margin=MARGIN, flip_rate=0.05, power=0.8)
    more = stats.items_needed(margin=MARGIN, flip_rate=0.1, power=0.8)
    assert some is not None
    assert more is not None
    # 153 and 305 by the planning formula of the z test, which is a little too hopeful.
    assert 153 <= some < 230
    assert 305 <= more < 400
    assert stats.items_needed(margin=0.0005, flip_rate=0.3, power=0.8) is None


def test_the_smallest_proven_drop_shrinks_with_items() -> None:
    few, many = (
        stats.smallest_proven_drop(stats.stages("off", n, alpha=0.05), margin=MARGIN, flip_rate=0.1)
        for n in (150, 1200)
    )
    assert few is not None
    assert many is not None
    assert MARGIN < many < few < 0.2
