"""Simulate methods to estimate the probability that each leader is the best.

A search trains each design once. The designs with the best results are the leaders, which are
trained again with new seeds. In the simulation, the true means are known.
Run: python scripts/benchmark_confirm.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skipsearch.analysis import interval
from skipsearch.analysis.confirm.chance import chance_of_best
from skipsearch.analysis.confirm.confirmation import LEAST_ROUNDS, SURE
from skipsearch.metric import ACCURACY, Scale

Array = NDArray[np.float64]
DRAWS = 2000
NOISE = 0.01  # standard deviation of an accuracy over seeds
COMMON = 0.2  # share of the variance over seeds that is common to all designs
SEARCHED = 60
IMAGES = 10_000
SCALE = Scale(ACCURACY, IMAGES)


def _shares(draws: Array) -> Array:
    """Return the share of draws in which each design (row) is the highest; ties are split."""
    highest = draws == draws.max(axis=0)
    shares: Array = (highest / highest.sum(axis=0)).mean(axis=1)
    return shares


def bootstrap(seen: Array, rng: np.random.Generator) -> Array:
    """Return the chances by the nonparametric bootstrap, paired over seeds."""
    return _shares(seen[:, rng.integers(seen.shape[1], size=(DRAWS, seen.shape[1]))].mean(axis=2))


def bayesian_bootstrap(seen: Array, rng: np.random.Generator) -> Array:
    """Return the chances by the Bayesian bootstrap, with smooth weights (Rubin 1981)."""
    return _shares(seen @ rng.dirichlet(np.ones(seen.shape[1]), DRAWS).T)


def student(seen: Array, rng: np.random.Generator) -> Array:
    """Return the chances with Student's tails; for two designs this is the paired t-test."""
    seeds = seen.shape[1]
    means = seen.mean(axis=1, keepdims=True)
    noise = (seen - means) @ rng.standard_normal((seeds, DRAWS))
    return _shares(means + noise / np.sqrt(seeds * rng.chisquare(seeds - 1, DRAWS)))


def flat(seen: Array, rng: np.random.Generator) -> Array:
    """Return the chances with equal noise for all designs and a flat prior on their means."""
    designs, seeds = seen.shape
    means = seen.mean(axis=1, keepdims=True)
    noise = seen - means - seen.mean(axis=0) + seen.mean()
    freedom = (designs - 1) * (seeds - 1)
    deviation = np.sqrt((noise**2).sum() / rng.chisquare(freedom, DRAWS) / seeds)
    return _shares(means + deviation * rng.standard_normal((designs, DRAWS)))


METHODS: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "bootstrap": bootstrap,
    "Bayesian": bayesian_bootstrap,
    "Student": student,
    "flat": flat,
    "ours": lambda seen, _: chance_of_best(seen, SCALE),
}


def simulate(
    rng: np.random.Generator, leaders: int, spread: float, uneven: float, seeds: int
) -> tuple[Array, Array]:
    """Return the true means of the leaders, in order, and their accuracies with new seeds."""
    expectations = rng.normal(0.9, spread * NOISE, SEARCHED)
    noise = NOISE * np.exp(rng.normal(0, uneven, SEARCHED))
    top = (expectations + noise * rng.standard_normal(SEARCHED)).argsort()[::-1][:leaders]
    own = np.sqrt(1 - COMMON) * rng.standard_normal((leaders, seeds))
    common = np.sqrt(COMMON) * rng.standard_normal(seeds)
    seen = expectations[top, np.newaxis] + noise[top, np.newaxis] * (own + common)
    return expectations[top], seen


def race(truth: Array, seen: Array) -> tuple[float, ...]:
    """Judge after each round, as ``confirm`` does.

    Returns:
        Number of rounds; whether a leader was separated; whether the winner is the best; the excess
        of its mean over the truth, in standard deviations of the noise; and whether the intervals
        of the means of the winner and of the search's leader cover the truth.
    """
    for rounds in range(LEAST_ROUNDS, seen.shape[1] + 1):
        separated = chance_of_best(seen[:, :rounds], SCALE).max() >= SURE
        if separated:
            break
    means = seen[:, :rounds].mean(axis=1)
    best = int(means.argmax())
    covers = []
    for leader in (best, 0):
        low, high = interval(seen[leader, :rounds].tolist(), SCALE)
        covers.append(low <= truth[leader] <= high)
    return rounds, separated, best == truth.argmax(), (means - truth)[best] / NOISE, *covers


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    compare(rng, options.repeats)
    run_races(rng, options.repeats)


def compare(rng: np.random.Generator, repeats: int) -> None:
    """Print the claims of each method, and how often they are right."""
    print("claims: leaders with a chance of 0.95 or more, and how many of them are the best indeed")
    print("excess: mean chance of the leader, less how often it is the best")
    print(
        "spread: of the designs, in deviations of the noise; uneven: log-deviation of the noise\n"
    )
    print(f"{'leaders':>7} {'spread':>6} {'uneven':>6} {'seeds':>5}", end="")
    print("".join(f" | {name:^18}" for name in METHODS))
    print(" " * 27 + " | claims right excess" * len(METHODS))
    for leaders, uneven in ((2, 0.0), (5, 0.0), (5, 0.3)):
        for spread in (0.3, 1.0, 3.0):
            for seeds in (3, 5, 10):
                truths = [simulate(rng, leaders, spread, uneven, seeds) for _ in range(repeats)]
                print(f"{leaders:7} {spread:6} {uneven:6} {seeds:5}", end="")
                for method in METHODS.values():
                    found = np.array([method(seen, rng) for _, seen in truths])
                    right = found.argmax(axis=1) == [truth.argmax() for truth, _ in truths]
                    sure = found.max(axis=1) >= 0.95
                    share = f"{right[sure].mean():.2f}" if sure.any() else "-"
                    excess = (found.max(axis=1) - right).mean()
                    print(f" | {sure.mean():6.3f} {share:>5} {excess:+6.2f}", end="", flush=True)
                print()


def run_races(rng: np.random.Generator, repeats: int) -> None:
    """Print the outcomes for 5 leaders that are judged after each round."""
    print("\n5 leaders, judged after each round from the third on")
    print(f"{'':22} | mean of      one sepa- if so,  winner    its mean  95 % intervals that cover")
    print(f"{'spread uneven seeds':>22} |  rounds       rated  right   right    too high  ", end="")
    print("winner   search's leader")
    for uneven in (0.0, 0.3):
        for spread in (0.0, 0.3, 1.0, 3.0):
            for seeds in (5, 10):
                truths = [simulate(rng, 5, spread, uneven, seeds) for _ in range(repeats)]
                races = np.array([race(*each) for each in truths])
                rounds, separated, right, excess, winner, leader = races.mean(axis=0)
                sure = races[races[:, 1] == 1, 2]
                share = f"{sure.mean():.2f}" if len(sure) else "-"
                print(
                    f"{spread:8} {uneven:6} {seeds:6} | {rounds:7.2f} {separated:11.3f} {share:>6}"
                    f"{right:8.2f} {excess:+11.2f} {winner:9.3f} {leader:9.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
