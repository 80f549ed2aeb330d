"""The statistics agree with independent implementations and keep their error rates."""

import math

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar

from quantguard import stats
from quantguard.stats import PairedCounts
from quantguard.stats.paired import _tango_score

CASES = [PairedCounts(7, 12, 100), PairedCounts(0, 9, 300), PairedCounts(3, 0, 66), PairedCounts(20, 41, 164)]


def constrained_score(counts: PairedCounts, difference: float) -> float:
    """Tango's statistic from its definition: the likelihood maximised numerically under the difference."""
    gained, lost, n = counts

    def loss(p_lost: float) -> float:
        p_gained = p_lost + difference
        same = 1 - p_lost - p_gained
        if min(p_lost, p_gained, same) <= 0:
            return math.inf
        return -(gained * math.log(p_gained) + lost * math.log(p_lost) + (n - gained - lost) * math.log(same))

    low, high = max(0.0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12
    found = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    variance = n * (2 * found.x + difference - difference**2)
    return float((gained - lost - n * difference) / math.sqrt(variance))


@pytest.mark.parametrize("counts", CASES, ids=str)
@pytest.mark.parametrize("difference", [-0.1, -0.045, 0.02])
def test_the_closed_form_is_the_constrained_maximum_likelihood(counts: PairedCounts, difference: float) -> None:
    assert _tango_score(counts, difference) == pytest.approx(constrained_score(counts, difference), abs=2e-3)


def test_tango_bounds_of_a_published_example() -> None:
    low, high = stats.tango_bounds(PairedCounts(7, 12, 100), alpha=0.05)
    assert (low, high) == pytest.approx((-0.1252, 0.0229), abs=5e-5)


def test_bounds_hold_the_estimate_and_reach_the_edges() -> None:
    low, high = stats.tango_bounds(PairedCounts(0, 10, 10), alpha=0.05)
    assert low == -1.0
    # 10 of 10 lost: at D = -0.574 the constrained estimate is 0.787 lost and 0.213 gained, and T = -1.645.
    assert high == pytest.approx(-0.5741, abs=1e-4)


@pytest.mark.parametrize(("gained", "lost"), [(3, 12), (0, 5), (10, 10)], ids=str)
def test_the_drop_test_is_half_of_the_two_sided_exact_mcnemar(gained: int, lost: int) -> None:
    two_sided = mcnemar([[50, lost], [gained, 30]], exact=True).pvalue
    assert stats.drop_p_value(PairedCounts(gained, lost, 100)) == pytest.approx(
        min(1, two_sided / 2), abs=0.1 * (gained == lost)
    )


def test_without_flips_the_bound_is_exact() -> None:
    assert stats.exact_no_flip_bound(66, alpha=0.05) < 0.045 < stats.exact_no_flip_bound(65, alpha=0.05)
    assert stats.drop_p_value(PairedCounts(0, 0, 66)) == 1.0


def test_mean_bounds_are_those_of_the_t_distribution() -> None:
    differences = [0.0, 0.25, -0.5, 0.0, -0.25, 0.0, -0.75]
    low, high, p_drop = stats.mean_bounds(differences, alpha=0.05)
    expected = scipy_stats.ttest_1samp(differences, 0.0, alternative="less")
    assert p_drop == pytest.approx(expected.pvalue)
    interval = scipy_stats.ttest_1samp(differences, 0.0).confidence_interval(0.9)
    assert (low, high) == pytest.approx((interval.low, interval.high))


def test_the_lower_tango_bound_fails_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(0)
    n, drop, flips, alpha = 300, 0.045, 0.1, 0.05
    p_lost, p_gained = (flips + drop) / 2, (flips - drop) / 2
    draws = rng.multinomial(n, [p_gained, p_lost, 1 - p_lost - p_gained], size=2000)
    wrong = np.mean(
        [stats.tango_bounds(PairedCounts(g, lost, n), alpha=alpha)[0] > -drop for g, lost, _ in draws.tolist()]
    )
    assert wrong < alpha + 3 * math.sqrt(alpha * (1 - alpha) / 2000)


def test_the_ratio_of_noisy_timings_is_found_within_its_bounds() -> None:
    rng = np.random.default_rng(1)
    estimate = stats.log_ratio_bounds(list(math.log(1.5) + 0.05 * rng.standard_normal(60)), alpha=0.05)
    assert estimate.low < 1.5 < estimate.high
    assert estimate.high - estimate.low < 0.1


def test_a_spike_does_not_move_the_ratio() -> None:
    values = [0.01 * (-1) ** i for i in range(40)]
    assert stats.log_ratio_bounds([*values, 5.0], alpha=0.05).ratio == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("n", "alpha", "num_cut"),
    [(5, 0.05, 0), (8, 0.025, 3), (10, 0.05, 10), (20, 0.05, 60), (30, 0.05, 151)],
    ids=["5", "8", "10", "20", "30"],
)
def test_bounds_of_a_ratio_are_those_of_the_tables_of_the_signed_rank(n: int, alpha: float, num_cut: int) -> None:
    values = [0.01 * 2**i / 2**n for i in range(n)]
    walsh = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    estimate = stats.log_ratio_bounds(values, alpha=alpha)
    assert math.log(estimate.low) == pytest.approx(walsh[num_cut])
    assert math.log(estimate.high) == pytest.approx(walsh[-1 - num_cut])


def test_too_few_timings_have_no_bound() -> None:
    with pytest.raises(ValueError, match=r"4 values have no bound of level 0\.05: at least 5 do"):
        stats.log_ratio_bounds([0.0] * 4, alpha=0.05)
