"""Compare rules of early stopping in replayed searches with a model of the space.

    nice python scripts/benchmark_stopping.py [--repeats 200] [--out FILE]
    python scripts/benchmark_stopping.py --macro nas-bench-macro_cifar10.json --rungs .6 .8

Searches are replayed on a table of finished trainings, one training at a time, with an equal number
of epochs. All rules except ``random`` propose by the expected improvement under the surrogate model
of ``skipsearch.surrogate``, after ten random designs, and use stopped trainings with the final
values that ``surrogate.curves`` predicts. They differ in which trainings are continued:

- ``random``: random designs, each to the end;
- ``none``: each to the end;
- ``asha``: rungs and rule of ``--scheduler asha``;
- ``worth F``: after each epoch, a training is paused if its expected improvement per remaining
  epoch is below F times that of the best alternative, which is a new training or a paused one. The
  first ten trainings run to the end.

NAS-Bench-Macro has no curves. It is given rungs after 1/9 and 3/9 of a training: the normal score
of the final value, with noise, so that they have the correlations of ``--rungs`` with it.

*Regret* is the difference between the best design and the picked one, both by their mean over all
seeds, in points of accuracy: for the leader, and for the best of the five leaders. Values are means
over the repeats with half of their 95 % interval (Student). In brackets is the upper bound of the
95 % interval of the difference to ``none``, paired by repeat.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from benchmark_samplers import LEADERS, Setting, interval, trainings
from benchmark_tables import circumstances, table, write_section
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from skipsearch.early_stopping import EarlyStopping
from skipsearch.metric import ACCURACY, Scale
from skipsearch.searching.stopping import EarlyStopper
from skipsearch.surrogate.acquisition import expected_improvement
from skipsearch.surrogate.curves import Curves
from skipsearch.surrogate.encoding import Array, Axis, Encoding
from skipsearch.surrogate.kernel import Kernel, Scales
from skipsearch.surrogate.observations import Observations
from skipsearch.surrogate.process import Posterior
from skipsearch.surrogate.scales import fit_scales
from skipsearch.surrogate.warp import Warp

RANDOM = 10  # random designs before the model proposes
WHOLE = 10  # full trainings before any is paused
REFIT = 5  # finished trainings after which the model's scales are fitted again
MARKS = (10, 20, 40)  # budgets, in full trainings, at which the regret is computed
MACRO_IMAGES = 10_000
Curve = Mapping[int, float]  # accuracy by epoch


class Designs(Kernel):
    """Kernel of a space with a known list of designs, whose features are computed once."""

    def __init__(self, axes: Sequence[Axis], rows: Array) -> None:
        super().__init__(axes)
        self._rows = rows
        self._all = super().features(rows)
        self._at = {row.tobytes(): n for n, row in enumerate(rows)}

    def features(self, x: Array) -> Array:
        """Return the features of designs."""
        return self._all if x is self._rows else self._all[[self._at[row.tobytes()] for row in x]]


@dataclass
class World:
    """The table of a space.

    Attributes:
        kernel: Kernel of the space.
        rows: Encoded designs, one row each.
        seeds: Curves of the seeds of each design.
        truth: Mean final accuracy of each design over all seeds.
        epochs: Number of epochs of a full training.
        images: Number of images over which an accuracy is computed.
    """

    kernel: Kernel
    rows: Array
    seeds: list[list[Curve]]
    truth: Array
    epochs: int
    images: int


@cache
def digits() -> World:
    """Return the table of the digits."""
    here = Path(__file__).parent
    space = str(here.parent / "search_spaces/digits_table.yaml")
    known = trainings(Setting(space, here / "tables/digits.csv", "digits", 0, 0, "none", False))
    candidates = list(known.space.candidates())
    encoding = Encoding.of(known.space)
    rows = encoding.rows([candidate.values for candidate in candidates])
    seeds = [[dict(enumerate(c, 1)) for c in known.curves[each.key]] for each in candidates]
    truth = np.array([known.truth[candidate.key] for candidate in candidates])
    return World(Designs(encoding.axes, rows), rows, seeds, truth, known.epochs, 359)


@cache
def macro(file: Path, correlations: tuple[float, float]) -> World:
    """Return NAS-Bench-Macro with simulated rungs."""
    known = json.loads(file.read_text())
    keys = sorted(known)
    axes = [Axis(f"layer {n}", ("0", "1", "2")) for n in range(len(keys[0]))]
    rows = np.array([[float(digit) for digit in key] for key in keys])
    truth = np.array([known[key]["mean_acc"] / 100 for key in keys])
    final = np.array([known[key]["test_acc"] for key in keys]) / 100
    scale = norm.ppf((rankdata(final) - 0.5) / final.size).reshape(final.shape)
    rng = np.random.default_rng(0)
    rungs = [
        r * scale + math.sqrt(1 - r * r) * rng.standard_normal(scale.shape) for r in correlations
    ]
    shares = [np.clip(0.6 + 0.05 * rung, 0.1, 0.99) for rung in rungs]
    seeds: list[list[Curve]] = [
        [
            {1: float(shares[0][n, s]), 3: float(shares[1][n, s]), 9: float(final[n, s])}
            for s in range(final.shape[1])
        ]
        for n in range(len(keys))
    ]
    return World(Designs(axes, rows), rows, seeds, truth, 9, MACRO_IMAGES)


@dataclass
class Search:
    """A search in progress.

    Attributes:
        world: Table that is searched.
        curves: Curve of each design in this repeat.
        ended: Designs whose training is complete or failed.
        parts: Curves so far of the other designs that were started.
    """

    world: World
    curves: list[Curve]
    ended: list[int] = field(default_factory=list)
    parts: dict[int, dict[int, float]] = field(default_factory=dict)
    _scales: tuple[int, Scales] | None = None

    @property
    def finished(self) -> list[int]:
        """Designs that were trained to the end."""
        return [n for n in self.ended if self.world.epochs in self.curves[n]]

    def gains(self) -> Array:
        """Return the expected improvement of each design if it is trained to the end."""
        world, finished = self.world, self.finished
        shares = [self.curves[n][world.epochs] for n in finished]
        parts = {n: curve for n, curve in self.parts.items() if curve}
        curves = Curves(
            [self.curves[n] for n in finished], Scale(ACCURACY, world.images), list(parts.values())
        )
        warp = Warp.of(shares, Scale(ACCURACY, world.images))
        failed = [n for n in self.ended if world.epochs not in self.curves[n]]
        last = [max(curve) for curve in parts.values()]
        final = curves.finals(last, [parts[n][epoch] for n, epoch in zip(parts, last, strict=True)])
        indicated = np.isfinite(final.variances)
        designs = [*finished, *failed, *np.array(list(parts), dtype=int)[indicated]]
        shares = [*shares, *[min(shares)] * len(failed), *final.scores[indicated]]
        extra = np.append(np.zeros(len(finished) + len(failed)), final.variances[indicated])
        floors = warp.noise(shares) + extra / warp.spread**2
        seen = Observations.of(world.rows[designs], warp.values(shares), floors)
        count, scales = self._scales or (0, None)
        if scales is None or len(self.ended) >= count + REFIT:
            scales = fit_scales(world.kernel, seen)
            self._scales = len(self.ended), scales
        posterior = Posterior.of(world.kernel, scales, seen)
        means = posterior.mean(world.rows)
        deviations = np.sqrt(posterior.variance(world.rows))
        return expected_improvement(means, deviations, float(means[finished].max()))

    def worths(self) -> Array:
        """Return the expected improvement of each design per remaining epoch."""
        worths = self.gains() / self.world.epochs
        for n, curve in self.parts.items():
            worths[n] *= self.world.epochs / (self.world.epochs - max(curve, default=0))
        worths[self.ended] = -np.inf
        return worths

    def regret(self) -> list[float]:
        """Return the regret of the leader, and of the best of several leaders."""
        world = self.world
        order = sorted(self.finished, key=lambda n: -self.curves[n][world.epochs])
        best = [max(world.truth[order[:k]], default=0.0) for k in LEADERS]
        return [100 * float(world.truth.max() - each) for each in best]


Figures = tuple[list[list[float]], int, int, int]


def replay(world: World, rule: str, factor: float, repeat: int) -> Figures:
    """Run one search.

    Returns:
        Regrets at each mark, and the numbers of started trainings, of pauses, and of resumed
        trainings.
    """
    rng = random.Random(repeat)
    search = Search(world, [rng.choice(seeds) for seeds in world.seeds])
    order = rng.sample(range(len(world.rows)), len(world.rows))
    stopping = EarlyStopping(rule="asha" if rule == "asha" else "none", audit=0)
    stopper = EarlyStopper(stopping, world.epochs)
    stopped: set[int] = set()
    begun = spent = pauses = resumed = 0
    regrets: list[list[float]] = []
    while len(regrets) < len(MARKS):
        if rule == "random" or begun < RANDOM:
            now = order[begun]
        else:
            worths = search.worths()
            worths[list(stopped)] = -np.inf
            now = int(np.argmax(worths))
        begun += now not in search.parts
        resumed += now in search.parts
        curve = search.parts.setdefault(now, {})
        while True:
            epoch = min((e for e in search.curves[now] if e not in curve), default=None)
            spent += (epoch or max(curve, default=0) + 1) - max(curve, default=0)
            if epoch is not None:
                curve[epoch] = search.curves[now][epoch]
            if epoch is None or epoch == world.epochs:
                search.ended.append(now)
                del search.parts[now]
                break
            shown = [value for _, value in sorted(curve.items())]
            if rule == "asha" and stopper.stops(now, shown):
                stopped.add(now)
                break
            if rule == "worth" and len(search.finished) >= WHOLE:
                worths = search.worths()
                own, worths[now] = worths[now], -np.inf
                if own < factor * worths.max():
                    pauses += 1
                    break
        # A training that passes a mark counts from its end.
        while len(regrets) < len(MARKS) and spent >= MARKS[len(regrets)] * world.epochs:
            regrets.append(search.regret())
    return regrets, begun, pauses, resumed


def compared(values: Sequence[float], base: Sequence[float]) -> str:
    """Return the mean with its interval, and the upper bound of the difference."""
    text = interval(values)
    if values == base:
        return text
    differences = [a - b for a, b in zip(values, base, strict=True)]
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(differences) / math.sqrt(len(values))
    return f"{text} ({mean(differences) + half:+.3f})"


def main() -> None:
    """Replay all rules and print their regrets."""
    parser = argparse.ArgumentParser(description="Replay searches with and without stopping.")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--factors", type=float, nargs="*", default=[0.5, 0.1])
    parser.add_argument("--rules", nargs="+", default=["random", "asha", "worth"])
    parser.add_argument("--macro", type=Path, help="the file of NAS-Bench-Macro")
    parser.add_argument("--rungs", type=float, nargs=2, default=[0.6, 0.8], help="correlations")
    parser.add_argument("--out", type=Path, help="a Markdown file with a section for the table")
    options = parser.parse_args()
    world = macro(options.macro, tuple(options.rungs)) if options.macro else digits()
    contenders = [("none", 0.0)]
    for rule in options.rules:
        contenders += [(rule, f) for f in (options.factors if rule == "worth" else [0.0])]
    base: list[list[float]] = []
    rows = []
    for rule, factor in contenders:
        done = [replay(world, rule, factor, repeat) for repeat in range(options.repeats)]
        columns = [
            [regrets[m][k] for regrets, *_ in done]
            for k in range(len(LEADERS))
            for m in range(len(MARKS))
        ]
        base = base or columns
        counts = [f"{mean(each[n] for each in done):.1f}" for n in (1, 2, 3)]
        cells = [compared(c, b) for c, b in zip(columns, base, strict=True)]
        rows.append([f"{rule} {factor:g}" if factor else rule, *cells, *counts])
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    heads = [f"{'leader' if k == 1 else f'best of {k}'}, {m}" for k in LEADERS for m in MARKS]
    shown = table(["", *heads, "begun", "paused", "went on"], rows)
    body = f"{circumstances('cpu')}\n\nMeans of {options.repeats} repeats.\n\n{shown}"
    print(body)
    if options.out:
        name = (
            f"stopping by the model, macro, rungs {options.rungs}"
            if options.macro
            else "stopping by the model, digits"
        )
        write_section(options.out, name, body)


if __name__ == "__main__":
    main()
