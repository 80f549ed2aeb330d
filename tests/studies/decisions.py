"""How often the rule of accuracy gates is wrong and how soon it stops, with and without early stopping, by simulation.

Every run draws n items of which a share flips, gained or lost. At no drop a REGRESSED is false; at a drop of the
tolerance a PASS is wrong. The drop is that of the items one could draw, of which the n are a sample. The last table
takes the n items themselves for all there is, as betting without replacement does, and shows what that costs.

python tests/studies/decisions.py               # the tables of decisions.md
python tests/studies/decisions.py --runs 200    # a sample
"""

import argparse
import math

import numpy as np
import numpy.typing as npt

from quantguard import stats

MARGIN, ALPHA = 0.045, 0.05
SIZES, FLIPS = (60, 120, 300, 500), (0.02, 0.05, 0.1, 0.2)
EPOCHS = 4
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000)
    runs = parser.parse_args().runs
    error = math.sqrt(ALPHA * (1 - ALPHA) / runs)
    print(f"{runs} runs each; the standard error of a rate of 5 % is {error:.2%}\n")
    worst = single_answers(runs)
    print(f"\nLargest wrong rate: {worst:.2%}; a rate of just 5 % would stay below {ALPHA + 3 * error:.2%}\n")
    exact()
    several_answers(runs)
    without_replacement(min(runs, 4000))


def single_answers(runs: int) -> float:
    """Print a row for every size, flip rate and method, and return the largest rate of wrong verdicts."""
    print(
        "| items | flips | early stop | no drop: PASS | INCONCLUSIVE | false REGRESSED | items used, median | ",
        end="",
    )
    print("| drop of 4.5 points: wrong PASS | drop of 9 points: REGRESSED | items used, mean |")
    print("|" + "---|" * 11)
    worst = 0.0
    for n in SIZES:
        for flips in FLIPS:
            for method in stats.METHODS:
                looks = stats.stages(method, n, alpha=ALPHA)
                if method != "off" and len(looks) == 1:
                    continue
                same, margin, double = (
                    stats.chances(looks, margin=MARGIN, flip_rate=flips, drop=drop, num_runs=runs, seed=index)
                    for index, drop in enumerate((0.0, MARGIN, 2 * MARGIN))
                )
                worst = max(worst, same.regressed, margin.passes)
                print(
                    f"| {n} | {flips:.0%} | {method} | {same.passes:.1%} | {same.inconclusive:.1%}"
                    f" | {same.regressed:.2%}"
                    f" | {same.median_items / n:.0%} | {same.mean_items / n:.0%} | {margin.passes:.2%}"
                    f" | {double.regressed:.1%} | {double.mean_items / n:.0%} |",
                    flush=True,
                )
    return worst


def exact() -> None:
    """Print the largest rate of wrong PASS over many sizes, margins and flip rates, summed without simulation."""
    print("Without simulation, at one look, the largest rate of wrong PASS over flip rates:\n")
    print("| items | margin 1 | 2 | 4.5 | 10 | 20 points |\n|---|---|---|---|---|---|")
    for n in (30, 60, 120, 164, 300):
        cells = [
            max(_wrong_pass(n, margin, margin + extra) for extra in (0.0, 0.002, 0.01, 0.05, 0.15))
            for margin in (0.01, 0.02, 0.045, 0.1, 0.2)
        ]
        print(f"| {n} | " + " | ".join(f"{cell:.2%}" for cell in cells) + " |")
    print()


def _wrong_pass(n: int, margin: float, flips: float) -> float:
    gained, lost = (axis.ravel() for axis in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    kept = gained + lost <= n
    gained, lost = gained[kept], lost[kept]
    passed = stats.excludes_drop(gained, lost, n, margin=margin, alpha=ALPHA)
    gained, lost = gained[passed], lost[passed]
    factorials = np.cumsum(np.log(np.maximum(np.arange(n + 1), 1)))
    up, down = (flips - margin) / 2, (flips + margin) / 2
    log_up = np.where(gained > 0, gained * np.log(max(up, 1e-300)), 0.0)
    same = n - gained - lost
    log_p = factorials[n] - factorials[gained] - factorials[lost] - factorials[same]
    return float(np.exp(log_p + log_up + lost * np.log(down) + same * np.log(1 - flips)).sum())


def several_answers(runs: int) -> None:
    """Print the same for means of four sampled answers an item, judged by t bounds."""
    print(f"{EPOCHS} sampled answers an item, difficulties Beta(2, 1), {runs} runs each:\n")
    print(
        "| items | early stop | no drop: PASS | false REGRESSED | items used, mean | drop of 4.5 points: wrong PASS |"
    )
    print("|---|---|---|---|---|---|")
    for n in (120, 300, 500):
        for method in ("off", "group-sequential"):
            looks = stats.stages(method, n, alpha=ALPHA)
            if method != "off" and len(looks) == 1:
                continue
            same, margin = (_averages(looks, drop, runs) for drop in (0.0, MARGIN))
            print(
                f"| {n} | {method} | {same[0]:.1%} | {same[1]:.2%} | {same[2] / n:.0%} | {margin[0]:.2%} |", flush=True
            )
    print()


def _averages(looks: tuple[stats.Stage, ...], drop: float, runs: int) -> tuple[float, float, float]:
    """Return the rates of PASS and REGRESSED and the mean number of items."""
    rng = np.random.default_rng(int(drop * 1000))
    outcomes, used = [], []
    for _ in range(runs):
        right = rng.beta(2, 1, looks[-1].num_items)
        # Every item loses the same share of its chance, 4.5 points on average.
        worse = right * (1 - drop / (2 / 3))
        d = (rng.binomial(EPOCHS, worse) - rng.binomial(EPOCHS, right)) / EPOCHS
        outcome, items = _walk(looks, d)
        outcomes.append(outcome)
        used.append(items)
    return outcomes.count("PASS") / runs, outcomes.count("REGRESSED") / runs, float(np.mean(used))


def _walk(looks: tuple[stats.Stage, ...], differences: Floats) -> tuple[str, int]:
    for look in looks:
        seen = differences[: look.num_items]
        low, high, p_drop = stats.mean_bounds(list(seen), alpha=look.level)
        low, high = stats.widen((low, high), len(seen), alpha=look.level)
        last = look is looks[-1]
        if low > -MARGIN:
            return "PASS", look.num_items
        if high < -MARGIN or (last and float(seen.mean()) < -MARGIN and p_drop <= ALPHA):
            return "REGRESSED", look.num_items
    return "INCONCLUSIVE", looks[-1].num_items


def without_replacement(runs: int) -> None:
    """Print what betting on the items of the set itself errs by, for the set and for the items it was drawn from."""
    print(f"Betting without replacement, which judges the n items for themselves, {runs} runs each (not used):\n")
    print(
        "| items | flips | no drop: median items used | wrong PASS, drop of these items"
        " | wrong PASS, drop of their kind |"
    )
    print("|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for n in (120, 300, 500):
        for flips in FLIPS[1:]:
            same = _bet_on_the_rest(_draw(rng, runs, n, flips, 0.0), MARGIN)
            kind = _bet_on_the_rest(_draw(rng, runs, n, flips, MARGIN), MARGIN)
            lost = math.ceil(n * (flips + MARGIN) / 2)
            fixed = np.zeros(n)
            fixed[:lost], fixed[lost : 2 * lost - math.ceil(n * MARGIN)] = -1, 1
            these = _bet_on_the_rest(rng.permuted(np.tile(fixed, (runs, 1)), axis=1), MARGIN)
            median = float(np.median(np.where(same.any(axis=1), same.argmax(axis=1) + 1, n))) / n
            print(
                f"| {n} | {flips:.0%} | {median:.0%} | {these.any(axis=1).mean():.1%}"
                f" | {kind.any(axis=1).mean():.1%} |",
                flush=True,
            )


def _draw(rng: np.random.Generator, runs: int, n: int, flips: float, drop: float) -> Floats:
    uniform = rng.random((runs, n))
    return (uniform > 1 - (flips - drop) / 2).astype(np.float64) - (uniform < (flips + drop) / 2)


def _bet_on_the_rest(differences: Floats, margin: float) -> npt.NDArray[np.bool_]:
    """Tell after which items "the n items fell by the margin" is refuted (Waudby-Smith and Ramdas, section 5)."""
    n = differences.shape[1]
    x, null = (differences + 1) / 2, (1 - margin) / 2
    total, squares, wealth = (np.zeros(len(x)) for _ in range(3))
    rich = np.zeros(x.shape, dtype=bool)
    for t in range(n):
        rest = (n * null - total) / (n - t)
        mean = (0.5 + total) / (1 + t)
        edge = mean - rest
        stake = np.clip(edge / ((0.1 + squares) / (1 + t) + edge**2), 0, 0.5 / np.maximum(rest, 1e-9))
        wealth += np.log(np.maximum(1 + stake * (x[:, t] - rest), 1e-12))
        rich[:, t] = (wealth >= math.log(1 / ALPHA)) | (rest < 0)
        total += x[:, t]
        squares += (x[:, t] - mean) ** 2
    return rich


if __name__ == "__main__":
    main()
