"""Which sampler finds the best designs? Searches replayed on a table of finished trainings.

    python scripts/benchmark_samplers.py [--repeats 100] [--evaluations 100] [--out FILE]
    python scripts/benchmark_samplers.py --scheduler asha    # with early stopping, as by default
    python scripts/benchmark_samplers.py --exact             # evaluations without noise
    python scripts/benchmark_samplers.py --judged-at 3       # as if trainings ended at epoch 3

``train_table.py`` made the table: every design of a space, trained to the end from several seeds.
A replay is a search at concurrency 1, by the study that real searches have, except that a training
is a look at the table: at the row of one seed, drawn anew for each design and repeat, alike for all
samplers. After each evaluation the search would pick the design of its best value so far. *Regret*
is how much worse the picked design is than the best of the table, both by their mean over all
seeds: in points of accuracy, the mean over the repeats and half its 95 % interval (Student).
"""

import argparse
import math
import multiprocessing
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import optuna
from benchmark_turns import CORES, circumstances, table, write_section
from scipy.stats import t as student
from train_table import load_space, read

from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, Epoch
from skipsearch.search.rungs import REDUCTION_FACTOR, rungs
from skipsearch.search.samplers import SAMPLERS
from skipsearch.search.study import SearchStudy
from skipsearch.space import Space
from skipsearch.training import tune_process

SHOWN = (10, 20, 30, 40, 60, 80, 100, 150, 200)  # evaluations after which the regret is shown


@dataclass(frozen=True)
class Setting:
    """What is replayed, all but sampler and repeat.

    Attributes:
        space: YAML file of the space.
        table: CSV of its trainings.
        data: The data set they were trained on.
        judged_at: The epoch that counts as the last; 0 for the last of the table.
        evaluations: Budget of a search, in full trainings.
        scheduler: ``none``, or ``asha`` with the rungs of a real search.
        exact: Whether an evaluation shows the mean over all seeds.
    """

    space: str
    table: Path
    data: str
    judged_at: int
    evaluations: int
    scheduler: str
    exact: bool


@dataclass(frozen=True)
class Trainings:
    """The table of a setting.

    Attributes:
        space: With the recipe of the table.
        epochs: Of a full training.
        curves: Accuracy after each epoch, of each seed, by the key of what was trained; one that
            diverged is shorter.
        truth: Mean of the last accuracy over the seeds; one that diverged counts as 0.
    """

    space: Space
    epochs: int
    curves: dict[str, list[list[float]]]
    truth: dict[str, float]


@cache
def trainings(setting: Setting) -> Trainings:
    """Read the table of a setting, once a process."""
    rows = list(read(setting.table))
    trained = sum(name.startswith("accuracy_") for name in rows[0])
    epochs = setting.judged_at or trained
    curves = defaultdict(list)
    for row in rows:
        cells = [row[f"accuracy_{epoch}"] for epoch in range(1, epochs + 1)]
        curves[f"{row['design']}-{row['recipe']}"].append([float(cell) for cell in cells if cell])
    truth = {
        key: mean(curve[-1] if len(curve) == epochs else 0.0 for curve in seeds)
        for key, seeds in curves.items()
    }
    if setting.exact:
        curves = {key: [[mean(at) for at in zip(*c, strict=False)]] for key, c in curves.items()}
    return Trainings(load_space(setting.space, setting.data, trained), epochs, dict(curves), truth)


class Stopper:
    """Early stopping as Tune's ASHA has it: what a rung's upper third beats ends there."""

    def __init__(self, epochs: int) -> None:
        self._reached: dict[int, list[float]] = {rung: [] for rung in rungs(epochs)[:-1]}

    def stopped(self, curve: list[float]) -> list[float]:
        """Return what is trained of a curve."""
        for rung, values in self._reached.items():
            if len(curve) < rung:
                return curve
            value = curve[rung - 1]
            passed = not values or value >= quantile(values, 1 - 1 / REDUCTION_FACTOR)
            values.append(value)
            if not passed:
                return curve[:rung]
        return curve


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of others lies, between two of them by proportion."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def replay(setting: Setting, sampler: str, repeat: int) -> tuple[list[float], float]:
    """Search once.

    Returns:
        The regret after each full evaluation's worth of epochs, in points of accuracy, and seconds
        that a proposal took.
    """
    known = trainings(setting)
    # The study's space has the recipe with the table's budget, so that keys are those of the table.
    recipe = Recipe.from_dict(known.space.recipe)
    study = SearchStudy(None, "replay", known.space, recipe, repeat, sampler)  # type: ignore[arg-type]
    study.recipe = replace(recipe, epochs=known.epochs)  # what COMPLETE means
    stopper = Stopper(known.epochs)
    top, best, picked = max(known.truth.values()), (0, 0.0), ""
    regrets: list[float] = []
    epochs_spent = proposals = 0
    seconds = 0.0
    while len(regrets) < setting.evaluations:
        start = time.perf_counter()
        ticket = study.ask()
        seconds += time.perf_counter() - start
        proposals += 1
        if ticket is None:
            break
        key = ticket.candidate.key
        # Of design and repeat alone: all samplers meet the same luck.
        whole = random.Random(f"{repeat} {key}").choice(known.curves[key])
        curve = stopper.stopped(whole) if setting.scheduler == "asha" else whole
        study.report(ticket.number, [shown(*each) for each in enumerate(curve, 1)], "the table")
        epochs_spent += max(len(curve), 1)
        if len(curve) == known.epochs:
            study.finish(ticket.number, COMPLETE, {})
        elif len(curve) == len(whole):
            study.finish(ticket.number, FAIL, {}, "the loss is no longer finite")
            curve = []
        else:
            study.finish(ticket.number, PRUNED, {})
        if curve and (len(curve), curve[-1]) > best:
            best, picked = (len(curve), curve[-1]), key
        regret = 100 * (top - known.truth.get(picked, 0.0))
        regrets += [regret] * (epochs_spent // known.epochs - len(regrets))
    # A space that is exhausted stays as it is.
    regrets += [regret] * (setting.evaluations - len(regrets))
    return regrets, seconds / proposals


def shown(number: int, accuracy: float) -> Epoch:
    """Return an epoch of which nothing but the accuracy is known."""
    return Epoch(number, 0.0, 0.0, 0.0, 0.0, accuracy, 0.0)


def interval(values: Sequence[float]) -> str:
    """Return mean and half of the 95 % interval."""
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):.2f} ± {half:.2f}"


def set_up() -> None:
    """Prepare a process that replays."""
    tune_process(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def main() -> None:
    """Replay all samplers and print a table of their regrets."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Replay samplers on a table of trainings.")
    parser.add_argument("--space", default=str(here.parent / "search_spaces/digits_table.yaml"))
    parser.add_argument("--table", type=Path, default=here / "tables/digits.csv")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--judged-at", type=int, default=0, metavar="EPOCH")
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--scheduler", choices=("none", "asha"), default="none")
    parser.add_argument("--exact", action="store_true", help="evaluations without noise")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--out", type=Path, help="a Markdown file with a section for the table")
    options = vars(parser.parse_args())
    repeats, samplers, out = (options.pop(name) for name in ("repeats", "samplers", "out"))
    setting = Setting(**options)

    columns = [each for each in SHOWN if each <= setting.evaluations]
    rows = []
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to come: one thread each
    with ProcessPoolExecutor(
        CORES, multiprocessing.get_context("spawn"), initializer=set_up
    ) as pool:
        pending = {
            sampler: [pool.submit(replay, setting, sampler, repeat) for repeat in range(repeats)]
            for sampler in samplers
        }
        for sampler, futures in pending.items():
            results = [future.result() for future in futures]
            row = [interval([regrets[count - 1] for regrets, _ in results]) for count in columns]
            rows.append([sampler, *row, f"{1e3 * mean(spent for _, spent in results):.0f}"])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    header = ["regret after", *map(str, columns), "ms a proposal"]
    body = f"{circumstances('cpu')}\n\n{table(header, rows)}"
    print(body)
    if out:
        noise = "exact" if setting.exact else "noisy"
        name = f"samplers, {setting.scheduler}, {noise}, judged at {setting.judged_at or 'the end'}"
        write_section(out, name, body)


if __name__ == "__main__":
    main()
