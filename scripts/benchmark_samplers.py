"""Which sampler finds the best designs? Searches replayed on a table of finished trainings.

    python scripts/benchmark_samplers.py [--repeats 100] [--evaluations 60] [--out FILE]
    python scripts/benchmark_samplers.py --scheduler asha    # with early stopping
    python scripts/benchmark_samplers.py --exact             # evaluations without noise
    python scripts/benchmark_samplers.py --judged-at 3       # as if trainings ended at epoch 3
    python scripts/benchmark_samplers.py --macro nas-bench-macro_cifar10.json --evaluations 80

``train_table.py`` made the table: every design of a space, trained to the end from several seeds.
A replay is a search at concurrency 1, by the study that real searches have, except that a training
is a look at the table: at the row of one seed, drawn anew for each design and repeat, alike for all
samplers. *Regret* is how much worse the design that a search picks is than the best of the table,
both by their mean over all seeds: in points of accuracy, the mean over the repeats and half of its
95 % interval (Student). A search picks the design of its best value so far, or the best of its five
leaders, where those are trained again with all seeds. *All seen* is the regret of a search that has
trained each design once. *Factor*: random search needs so many times more trainings for the same
mean regret; with a 95 % interval by the bootstrap over repeats. *ms a proposal* is without the
listing of a space, which is done once.

NAS-Bench-Macro (Su et al. 2021, arXiv:2103.11922) is a table that others made: 6,561 networks of
eight layers with three choices each, three seeds, no curves.
"""

import argparse
import heapq
import json
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
from operator import itemgetter
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import optuna
from benchmark_turns import CORES, circumstances, table, write_section
from scipy.stats import t as student
from train_table import load_space, read

from skipsearch.data import load_data
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, Epoch
from skipsearch.searching.samplers import SAMPLERS
from skipsearch.searching.stopping import RULES, EarlyStopping
from skipsearch.searching.study import Plan, SearchStudy
from skipsearch.searching.surrogate import Surrogate
from skipsearch.space import Candidate, Space
from skipsearch.training import tune_process

LEADERS = (1, 5)  # that are trained again before one is picked
SHOWN = (10, 20, 30, 40, 60, 80, 100, 200)  # evaluations after which the regret is shown
RESAMPLES = 1_000  # of the bootstrap
POOLS: dict["Setting", Any] = {}  # of the sampler surrogate, by setting: alike in all repeats
CHOICES = (
    "conv3-bn-relu-conv3-bn + relu",
    "bn-relu-conv3-bn-relu-conv3 +",
    "conv3-bn-relu-conv3 + bn-relu",
)  # that stand for those of a layer of NAS-Bench-Macro: a sampler sees eight axes of three words


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
        macro: The file of NAS-Bench-Macro, in the place of space, table and data.
    """

    space: str
    table: Path
    data: str
    judged_at: int
    evaluations: int
    scheduler: str
    exact: bool
    macro: Path | None = None


@dataclass(frozen=True)
class Trainings:
    """The table of a setting.

    Attributes:
        space: With the recipe of the table.
        epochs: Of a full training.
        curves: Accuracy after each epoch, of each seed, by the key of what was trained; one that
            diverged is shorter.
        truth: Mean of the last accuracy over the seeds; one that diverged counts as 0.
        images: Of the validation split.
    """

    space: Space
    epochs: int
    curves: dict[str, list[list[float]]]
    truth: dict[str, float]
    images: int


def read_macro(file: Path) -> tuple[Space, dict[str, tuple[Candidate, list[float]]]]:
    """Return NAS-Bench-Macro as a space, and each design with the accuracies of its seeds."""
    axes = {f"layout[{i}]": list(CHOICES) for i in range(8)}
    base = {"layout": CHOICES[0], "depths": [1] * 8, "widths": [4] * 8, "stem_width": 4}
    space = Space.from_dict({"name": "macro", "base": base, "axes": axes}, "macro")
    seen = {}
    for name, entry in json.loads(file.read_text()).items():
        candidate = space.candidate({f"layout[{i}]": CHOICES[int(c)] for i, c in enumerate(name)})
        seen[candidate.key] = (candidate, [share / 100 for share in entry["test_acc"]])
    return space, seen


@cache
def trainings(setting: Setting) -> Trainings:
    """Read the table of a setting, once a process."""
    if setting.macro:
        space, found = read_macro(setting.macro)
        accuracies = {key: seeds for key, (_, seeds) in found.items()}
        truth = {key: mean(seeds) for key, seeds in accuracies.items()}
        shown = {key: [truth[key]] if setting.exact else seeds for key, seeds in accuracies.items()}
        curves = {key: [[accuracy] for accuracy in seeds] for key, seeds in shown.items()}
        return Trainings(space, 1, curves, truth, images=10_000)
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
    space = load_space(setting.space, setting.data, trained)
    images = len(load_data(setting.data).validation)
    return Trainings(space, epochs, dict(curves), truth, images)


class Seen(NamedTuple):
    """What a training has shown: further trained is better, then the higher value."""

    epochs: int
    value: float
    key: str


def luck(setting: Setting, key: str, repeat: int) -> list[float]:
    """Return the curve of a design in one repeat: of them alone, so that all samplers meet it."""
    return random.Random(f"{repeat} {key}").choice(trainings(setting).curves[key])


def regret(setting: Setting, seen: Sequence[Seen], leaders: int) -> float:
    """Return the regret of a search that has seen so much, in points of accuracy."""
    truth = trainings(setting).truth
    # Of equal values the earlier leads.
    best = heapq.nlargest(leaders, seen, key=itemgetter(0, 1))
    picked = max((truth[each.key] for each in best), default=0.0)
    return 100 * (max(truth.values()) - picked)


def regret_of_all(setting: Setting, leaders: int, repeat: int) -> float:
    """Return the regret of a search that has trained each design once."""
    known = trainings(setting)
    curves = {key: luck(setting, key, repeat) for key in known.truth}
    seen = [Seen(len(c), c[-1], key) for key, c in curves.items() if len(c) == known.epochs]
    return regret(setting, random.Random(repeat).sample(seen, len(seen)), leaders)


def regrets_at_random(setting: Setting, repeat: int) -> list[float]:
    """Return the regret of the best of the most leaders after each training of a random search."""
    known = trainings(setting)
    keys = random.Random(f"random {repeat}").sample(list(known.truth), len(known.truth))
    best = max(known.truth.values())
    leaders: list[tuple[float, float]] = []
    regrets = []
    for key in keys:
        curve = luck(setting, key, repeat)
        if len(curve) == known.epochs:
            heapq.heappush(leaders, (curve[-1], known.truth[key]))
        if len(leaders) > max(LEADERS):
            heapq.heappop(leaders)
        regrets.append(100 * (best - max((truth for _, truth in leaders), default=0.0)))
    return regrets


def factor(regrets: Sequence[float], count: int, at_random: np.ndarray) -> str:
    """Return how many times more trainings random search needs, and the bootstrap's interval."""

    def needed(value: float, curve: np.ndarray) -> float:
        below = np.flatnonzero(curve <= value)
        return float((below[0] + 1 if len(below) else len(curve)) / count)

    rng = np.random.default_rng(0)
    seen = np.array(regrets)
    draws = [
        needed(
            seen[rng.integers(len(seen), size=len(seen))].mean(),
            at_random[rng.integers(len(at_random), size=len(at_random))].mean(axis=0),
        )
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{needed(seen.mean(), at_random.mean(axis=0)):.1f} ({low:.1f} to {high:.1f})"


def replay(setting: Setting, sampler: str, repeat: int) -> tuple[list[list[float]], float]:
    """Search once.

    Returns:
        The regret after each full evaluation's worth of epochs, for each number of leaders, and
        the seconds that a proposal took.
    """
    known = trainings(setting)
    # The study's space has the recipe with the table's budget, so that keys are those of the table.
    recipe = Recipe.from_dict(known.space.recipe)
    plan = Plan(
        space=known.space,
        recipe=recipe,
        trials=len(known.truth),
        seed=repeat,
        sampler=sampler,
        images=known.images,
    )
    study = SearchStudy(optuna.storages.InMemoryStorage(), "replay", plan)
    sampler_of = study._study.sampler
    if isinstance(sampler_of, Surrogate):
        sampler_of._pool = POOLS.get(setting)  # listing the space takes as long as all the rest
    # What COMPLETE means.
    study.plan = replace(study.plan, recipe=replace(recipe, epochs=known.epochs))
    judge = EarlyStopping(rule=setting.scheduler, audit=0).judge(known.epochs)
    seen: list[Seen] = []
    regrets: list[list[float]] = []
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
        whole = luck(setting, key, repeat)
        below = (whole[:epoch] for epoch in range(1, known.epochs))
        curve = next((part for part in below if judge.stops(ticket.number, part)), whole)
        study.report(ticket.number, [shown(*each) for each in enumerate(curve, 1)], {})
        epochs_spent += max(len(curve), 1)
        if len(curve) < len(whole):
            study.finish(ticket.number, PRUNED)
        elif len(curve) < known.epochs:
            study.finish(ticket.number, FAIL, "the loss is no longer finite")
            curve = []
        else:
            study.finish(ticket.number, COMPLETE)
        if curve:
            seen.append(Seen(len(curve), curve[-1], key))
        now = [regret(setting, seen, leaders) for leaders in LEADERS]
        regrets += [now] * (epochs_spent // known.epochs - len(regrets))
    if isinstance(sampler_of, Surrogate):
        POOLS[setting] = sampler_of._pool
    # A space that is exhausted stays as it is.
    regrets += [now] * (setting.evaluations - len(regrets))
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
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--scheduler", choices=RULES, default="none")
    parser.add_argument("--exact", action="store_true", help="evaluations without noise")
    parser.add_argument("--macro", type=Path, metavar="FILE", help="NAS-Bench-Macro's JSON file")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--out", type=Path, help="a Markdown file with a section for the table")
    options = vars(parser.parse_args())
    repeats, samplers, out = (options.pop(name) for name in ("repeats", "samplers", "out"))
    setting = Setting(**options)

    columns = [each for each in SHOWN if each <= setting.evaluations]
    tables: list[list[list[str]]] = [[] for _ in LEADERS]
    factors: list[list[str]] = []
    set_up()
    at_random = np.array([regrets_at_random(setting, repeat) for repeat in range(repeats)])
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
            milliseconds = f"{1e3 * mean(spent for _, spent in results):.0f}"
            for n, rows in enumerate(tables):
                at = ([regrets[count - 1][n] for regrets, _ in results] for count in columns)
                rows.append([sampler, *map(interval, at), milliseconds])
            last = [
                (count, [regrets[count - 1][-1] for regrets, _ in results]) for count in columns
            ]
            factors.append([sampler, *(factor(at, count, at_random) for count, at in last)])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    parts = [circumstances("cpu"), f"Means of {repeats} repeats."]
    for leaders, rows in zip(LEADERS, tables, strict=True):
        all_seen = [regret_of_all(setting, leaders, repeat) for repeat in range(repeats)]
        last = ["all seen", *[""] * (len(columns) - 1), interval(all_seen), ""]
        which = "the leader" if leaders == 1 else f"the best of {leaders} leaders"
        header = [f"regret of {which} after", *map(str, columns), "ms a proposal"]
        parts.append(table(header, [*rows, last]))
    which = f"factor over random, best of {max(LEADERS)} leaders, at"
    parts.append(table([which, *map(str, columns)], factors))
    body = "\n\n".join(parts)
    print(body)
    if out:
        noise = "exact" if setting.exact else "noisy"
        table_name = "NAS-Bench-Macro" if setting.macro else setting.table.stem
        end = setting.judged_at or "the end"
        name = f"samplers, {table_name}, {setting.scheduler}, {noise}, judged at {end}"
        write_section(out, name, body)


if __name__ == "__main__":
    main()
