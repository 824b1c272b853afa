"""Simulate runs whose truth is known, and count how often what is said of them holds.

Nothing is trained: accuracies are drawn. Run: python scripts/benchmark_intervals.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import product
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from benchmark_turns import circumstances, table, write_section
from statsmodels.stats.power import TTestPower

import skipsearch as ss
from skipsearch import analysis
from skipsearch.record import COMPLETE

LAYOUTS = (
    "conv3-bn-relu-conv3-bn + relu",
    "bn-relu-conv3-bn-relu-conv3 +",
    "conv3-bn-relu-conv3 + bn-relu",
)
SHORTCUTS = ("pad", "proj", "omit")
AXES = ("layout", "shortcut", "depths")
IMAGES = 100_000  # so many that their number does not matter
GAINS = (0.01, 0.0, 0.005)  # of the layouts, where they differ
NOISE = 0.005  # deviation of an accuracy over seeds

Rng = np.random.Generator


def training(design: ss.Design, accuracy: float, seed: int = 0) -> ss.Trial:
    """Make a record of a training of one epoch; its training error is its validation error."""
    return ss.Trial(
        number=0,
        design=design,
        recipe=ss.Recipe(epochs=1),
        seed=seed,
        state=COMPLETE,
        reason="",
        curve=(ss.Epoch(1, 0.1, 1.0, accuracy, 1.0, accuracy, 1.0),),
        params=1,
        macs=1,
        device="",
        versions={},
    )


DESIGNS = {
    (layout, shortcut, depth): ss.Design(
        layout=layout, shortcut=shortcut, depths=(depth, 1), widths=(4, 8)
    )
    for layout, shortcut, depth in product(LAYOUTS, SHORTCUTS, range(1, 31))
}


def seen_in(trials: Sequence[ss.Trial]) -> analysis.Observations:
    """Put made-up trainings side by side."""
    return analysis.observe(trials, (1,), IMAGES, AXES)


def by_layout(rng: Rng, gains: Sequence[float], depths: int, seeds: int = 1) -> list[ss.Trial]:
    """Each layout at each depth; the depths are unlike, and each later layout noisier."""
    levels, moves = rng.normal(0.8, 0.05, depths), rng.normal(0, NOISE, seeds)
    return [
        training(
            DESIGNS[layout, "pad", depth + 1],
            levels[depth] + gains[i] + moves[seed] + rng.normal(0, NOISE * (1 + i)),
            seed,
        )
        for (i, layout), depth, seed in product(
            enumerate(LAYOUTS[: len(gains)]), range(depths), range(seeds)
        )
    ]


def without_pairs(rng: Rng) -> list[ss.Trial]:
    """Of each shortcut and depth one layout, turn about: no two designs make a pair."""
    return [
        training(
            DESIGNS[LAYOUTS[(j + depth) % 2], shortcut, depth],
            0.7 + GAINS[(j + depth) % 2] + 0.03 * j + 0.01 * depth + rng.normal(0, NOISE),
        )
        for (j, shortcut), depth in product(enumerate(SHORTCUTS), range(1, 11))
    ]


def holds(trials: Sequence[ss.Trial], method: str) -> bool:
    """Whether the intervals of all differences between layouts hold the truth."""
    found = analysis.effects(seen_in(trials), "layout")
    assert set(found.method[1:]) == {method}, found.method.tolist()
    truth = dict(zip(LAYOUTS, GAINS, strict=True))
    best = truth[found.level[0]]
    return all(row.d_low <= truth[row.level] - best <= row.d_high for row in found.itertuples())


def differs(trials: Sequence[ss.Trial]) -> bool:
    """Whether any layout is called worse than another."""
    return "worse" in set(analysis.effects(seen_in(trials), "layout").verdict)


def crossed(rng: Rng, depths: int, seeds: int) -> list[ss.Trial]:
    """Layouts and shortcuts that add up."""
    moves = rng.normal(0, NOISE, seeds)
    return [
        training(
            DESIGNS[layout, shortcut, depth],
            0.7 + 0.02 * i + 0.03 * j + 0.01 * depth + moves[seed] + rng.normal(0, NOISE),
            seed,
        )
        for (i, layout), (j, shortcut), depth, seed in product(
            enumerate(LAYOUTS), enumerate(SHORTCUTS), range(1, depths + 1), range(seeds)
        )
    ]


def depends(trials: Sequence[ss.Trial], method: str) -> bool:
    """Whether an interaction of layout and shortcut is found."""
    found = analysis.interactions(seen_in(trials), "layout", "shortcut")
    assert set(found.method) == {method}
    return bool(found.verdict[0] == "depends")


def deeper(rng: Rng, rise: float) -> str:
    """Return what is said of a layout at three depths, whose error rises at the last."""
    trials = [
        training(DESIGNS[LAYOUTS[0], "pad", depth], 0.8 - last + rng.normal(0, NOISE), seed)
        for depth, last in ((1, 0.0), (2, 0.0), (3, rise))
        for seed in range(5)
    ]
    return str(analysis.degradation(trials, IMAGES, IMAGES).verdicts.verdict[0])


def keeps_the_best(rng: Rng, seeds: int) -> bool:
    """Whether the first of 30 equal designs is called tied with the one that leads."""
    trials = [
        training(DESIGNS[LAYOUTS[0], "pad", depth], 0.8 + rng.normal(0, NOISE), seed)
        for depth in range(1, 31)
        for seed in range(seeds)
    ]
    ranking = analysis.rank(trials, (1,), IMAGES)
    return bool(ranking[ranking.design == trials[0].design.id].tied.iloc[0])


def is_found(rng: Rng, pairs: int, gain: float) -> bool:
    """Whether the better of two equally noisy layouts is found with so many pairs."""
    levels = rng.normal(0.8, 0.05, pairs)
    trials = [
        training(DESIGNS[LAYOUTS[i], "pad", d + 1], levels[d] + gain * i + rng.normal(0, NOISE))
        for i, d in product(range(2), range(pairs))
    ]
    found = analysis.effects(seen_in(trials), "layout")
    return bool(found.level[0] == LAYOUTS[1] and found.verdict[1] == "worse")


GAIN = 0.8 * NOISE
PAIRS = ceil(TTestPower().solve_power(GAIN / (NOISE * sqrt(2)), alpha=0.05, power=0.8))
ALIKE = (0.0, 0.0, 0.0)
CLAIMS: dict[str, tuple[str, Callable[[Rng], bool]]] = {
    "effects, by 10 pairs: all intervals of three layouts hold the truth": (
        "at least 0.95",
        lambda rng: holds(by_layout(rng, GAINS, 10), "pairs"),
    ),
    "effects, by 6 seeds of 3 designs each: the same": (
        "at least 0.95",
        lambda rng: holds(by_layout(rng, GAINS, 3, seeds=6), "seeds"),
    ),
    "effects, by the model: the interval of two layouts holds the truth": (
        "0.95",
        lambda rng: holds(without_pairs(rng), "model"),
    ),
    "effects, three equal layouts: one is called worse": (
        "at most 0.05",
        lambda rng: differs(by_layout(rng, ALIKE, 10)),
    ),
    f"effects, a gain of {GAIN / NOISE:.1f} deviations, {PAIRS} pairs: it is found": (
        "0.80",
        lambda rng: is_found(rng, PAIRS, GAIN),
    ),
    "interactions, axes that add up, 6 designs a combination: a dependence is found": (
        "0.05",
        lambda rng: depends(crossed(rng, 6, 1), "designs"),
    ),
    "interactions, axes that add up, 3 seeds of one design: the same": (
        "0.05",
        lambda rng: depends(crossed(rng, 1, 3), "seeds"),
    ),
    "ranking, 30 equal designs, 2 seeds: the best is among those tied": (
        "at least 0.95",
        lambda rng: keeps_the_best(rng, 2),
    ),
    "degradation, 3 equal depths, 5 seeds: another verdict than tied": (
        "at most 0.05",
        lambda rng: deeper(rng, 0.0) != "tied",
    ),
    "degradation, a rise of 4 deviations, 5 seeds: degrades": (
        "",
        lambda rng: deeper(rng, 4 * NOISE) == "degrades",
    ),
}


def main() -> None:
    """Print the table, or write it into a file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000, help="simulated, for each line")
    parser.add_argument("--out", type=Path, help="write the table into this file")
    options = parser.parse_args()
    rows = []
    for claim, (promised, simulate) in CLAIMS.items():
        rng = np.random.default_rng(0)
        seen = sum(simulate(rng) for _ in range(options.runs)) / options.runs
        error = 2 * sqrt(max(seen * (1 - seen), 1 / options.runs) / options.runs)
        rows.append([claim, promised, f"{seen:.3f} ± {error:.3f}"])
        print(" | ".join(rows[-1]), flush=True)
    text = f"{options.runs:,} simulated runs a line; ±: two standard errors of that."
    body = table(["", "promised", "seen"], rows)
    if options.out:
        body = f"{circumstances('cpu')}\n\n{text}\n\n{body}"
        write_section(options.out, "intervals and verdicts, simulated", body)


if __name__ == "__main__":
    main()
