"""Compare samplers in searches replayed on a table of finished trainings.

    python scripts/benchmark_samplers.py [--repeats 100] [--evaluations 60] [--out FILE]
    python scripts/benchmark_samplers.py --scheduler asha    # with early stopping
    python scripts/benchmark_samplers.py --exact             # evaluations without noise
    python scripts/benchmark_samplers.py --judged-at 3       # as if trainings ended at epoch 3
    python scripts/benchmark_samplers.py --macro FILE        # on NAS-Bench-Macro, 6,561 networks

The table is that of ``train_table.py``: every design of a space, trained to the end from several
seeds. A replay is a search at concurrency 1 with the study of real searches, except that each
training is looked up in the table: in the row of one seed, drawn anew for each design and repeat,
the same for all samplers. *Regret* is the difference between the best design of the table and the
one that the search picks, both by their mean over all seeds. It is given in points of accuracy, as
the mean over the repeats and half of its 95 % interval (Student). A search picks the design with
its best value so far, or the best of its five leaders, as if those were trained again with all
seeds. *All seen* is the regret of a search that has trained each design once.

The *factor* of a sampler is the number of trainings that random search needs for the same mean
regret, divided by that of the sampler. Its 95 % interval is a bootstrap over the repeats of both.

With ``--results``, each replay is stored when it ends and is not repeated by the next call.
"""

import argparse
import heapq
import json
import math
import multiprocessing
import os
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from operator import itemgetter
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import nas_bench_macro
import numpy as np
import optuna
from benchmark_tables import CORES, circumstances, table, write_section
from scipy.stats import t as student
from train_table import load_space, read

from skipsearch.config import SAMPLERS
from skipsearch.data import load_data
from skipsearch.early_stopping import RULES, EarlyStopping
from skipsearch.metric import ACCURACY, Scale
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, Environment, Epoch
from skipsearch.searching.plans import Plan
from skipsearch.searching.stopping import EarlyStopper
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space
from skipsearch.training import tune_process

LEADERS = (1, 5)  # leaders that are trained again before one is picked
SHOWN = (10, 20, 30, 40, 60, 80, 100, 200)  # evaluations after which the regret is shown
RANDOM_REPEATS = 1_000  # repeats of random search to the end of the table, for the factors
RESAMPLES = 2_000  # resamples of the bootstrap


@dataclass(frozen=True)
class Setting:
    """Setting of the replays, except for sampler and repeat.

    Attributes:
        space: YAML file of the space.
        table: CSV file of its trainings.
        data: Name of the data set of the trainings.
        judged_at: Epoch that counts as the last; 0 for the last of the table.
        evaluations: Budget of a search, in full trainings.
        scheduler: Rule of early stopping: ``none``, or ``asha`` with the rungs of a real search.
        exact: Whether an evaluation gives the mean over all seeds.
        macro: File of NAS-Bench-Macro, used instead of space and table; None to use those.
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
        space: Space with the recipe of the table.
        epochs: Number of epochs of a full training.
        curves: Accuracy of each seed after each epoch, by the key of design and recipe; the curve
            of a training that diverged is shorter.
        truth: Mean of the last accuracy over the seeds; a training that diverged counts as 0.
        images: Number of images over which an accuracy is computed.
    """

    space: Space
    epochs: int
    curves: dict[str, list[list[float]]]
    truth: dict[str, float]
    images: int


@cache
def trainings(setting: Setting) -> Trainings:
    """Read the table of a setting, once per process."""
    if setting.macro:
        last = nas_bench_macro.read(setting.macro)
        truth = {key: mean(seeds) for key, seeds in last.items()}
        shown = {key: [mean(seeds)] if setting.exact else seeds for key, seeds in last.items()}
        each = {key: [[accuracy] for accuracy in seeds] for key, seeds in shown.items()}
        return Trainings(nas_bench_macro.space(), 1, each, truth, nas_bench_macro.IMAGES)
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
    images = len(load_data(setting.data).validation)
    space = load_space(setting.space, setting.data, trained)
    return Trainings(space, epochs, dict(curves), truth, images)


class Seen(NamedTuple):
    """Result of a training; more epochs rank higher, then the higher value."""

    epochs: int
    value: float
    key: str


def luck(setting: Setting, key: str, repeat: int) -> list[float]:
    """Return the curve of a design in one repeat, which is the same for all samplers."""
    return random.Random(f"{repeat} {key}").choice(trainings(setting).curves[key])


def regret(setting: Setting, seen: Sequence[Seen], leaders: int) -> float:
    """Return the regret of a search with these results, in points of accuracy."""
    truth = trainings(setting).truth
    # Of equal values, the earlier ranks first.
    best = heapq.nlargest(leaders, seen, key=itemgetter(0, 1))
    picked = max((truth[each.key] for each in best), default=0.0)
    return 100 * (max(truth.values()) - picked)


def regret_of_all(setting: Setting, leaders: int, repeat: int) -> float:
    """Return the regret of a search that has trained each design once."""
    known = trainings(setting)
    curves = {key: luck(setting, key, repeat) for key in known.truth}
    seen = [Seen(len(c), c[-1], key) for key, c in curves.items() if len(c) == known.epochs]
    return regret(setting, random.Random(repeat).sample(seen, len(seen)), leaders)


def replay(setting: Setting, sampler: str, repeat: int) -> tuple[list[list[float]], float]:
    """Run one search.

    Returns:
        Regret after the epochs of each further full evaluation, for each number of leaders; and the
        CPU seconds per proposal.
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
        scale=Scale(ACCURACY, known.images),
    )
    study = SearchStudy(optuna.storages.InMemoryStorage(), "replay", plan)
    # The number of epochs of a full training.
    study.plan = replace(study.plan, recipe=replace(recipe, epochs=known.epochs))
    stopper = EarlyStopper(EarlyStopping(rule=setting.scheduler, audit=0), known.epochs)
    seen: list[Seen] = []
    regrets: list[list[float]] = []
    epochs_spent = proposals = 0
    seconds = 0.0
    while len(regrets) < setting.evaluations:
        start = time.process_time()
        proposal = study.ask()
        seconds += time.process_time() - start
        proposals += 1
        if proposal is None:
            break
        key = proposal.candidate.key
        whole = luck(setting, key, repeat)
        below = (whole[:epoch] for epoch in range(1, known.epochs))
        curve = next((part for part in below if stopper.stops(proposal.number, part)), whole)
        study.report(proposal.number, [shown(*each) for each in enumerate(curve, 1)], Environment())
        epochs_spent += max(len(curve), 1)
        if len(curve) < len(whole):
            study.finish(proposal.number, PRUNED)
        elif len(curve) < known.epochs:
            study.finish(proposal.number, FAIL, "the loss is no longer finite")
            curve = []
        else:
            study.finish(proposal.number, COMPLETE)
        if curve:
            seen.append(Seen(len(curve), curve[-1], key))
        now = [regret(setting, seen, leaders) for leaders in LEADERS]
        regrets += [now] * (epochs_spent // known.epochs - len(regrets))
    # After an exhausted space, the regret stays the same.
    regrets += [now] * (setting.evaluations - len(regrets))
    return regrets, seconds / proposals


def shown(number: int, accuracy: float) -> Epoch:
    """Return an epoch with only the accuracy known."""
    return Epoch(number, 0.0, 0.0, 0.0, 0.0, accuracy, 0.0)


def random_regrets(setting: Setting) -> tuple[list[int], np.ndarray]:
    """Return numbers of trainings, and the regret of the best of 5 after each, one row per repeat.

    The trainings are in random order, as with the sampler ``random``. They bypass the study, since
    a replay through it to the end of a large table would take hours.
    """
    known = trainings(setting)
    keys = list(known.truth)
    truth = np.array([known.truth[key] for key in keys])
    finals = [
        [c[-1] if len(c) == known.epochs else -1.0 for c in known.curves[key]] for key in keys
    ]
    counts = sorted({round(n) for n in np.geomspace(LEADERS[-1], len(keys), 120)})
    rows = []
    rng = np.random.default_rng(0)
    for _ in range(RANDOM_REPEATS):
        order = rng.permutation(len(keys))
        shown = np.array([finals[n][rng.integers(len(finals[n]))] for n in order])
        leaders = (np.argsort(-shown[:count], kind="stable")[: LEADERS[-1]] for count in counts)
        rows.append([truth.max() - truth[order[each]].max() for each in leaders])
    return counts, 100 * np.array(rows)


def factor(
    regrets: Sequence[float], count: int, counts: Sequence[int], of_random: np.ndarray
) -> str:
    """Return the factor of a sampler against random search, with its interval."""

    def times(reached: float, means: np.ndarray) -> float:
        # The mean of few repeats may rise by chance; the true mean never does.
        falling = np.minimum.accumulate(means)
        if reached < falling[-1]:
            return float(counts[-1] / count)  # the whole table is not enough
        needed = np.interp(-reached, -falling, np.log(counts))
        return float(np.exp(needed) / count)

    rng = np.random.default_rng(0)
    own = np.array(regrets)
    resampled = []
    for _ in range(RESAMPLES):
        picked = of_random[rng.integers(len(of_random), size=len(of_random))]
        resampled.append(times(own[rng.integers(len(own), size=len(own))].mean(), picked.mean(0)))
    low, high = np.quantile(resampled, (0.025, 0.975))
    return f"{times(own.mean(), of_random.mean(0)):.1f} ({low:.1f} to {high:.1f})"


class Results:
    """Finished replays, stored in a file if one is given.

    Args:
        file: File of JSON lines; None to store nothing.
        setting: Setting of the replays; lines of other settings are ignored.
    """

    def __init__(self, file: Path | None, setting: Setting) -> None:
        self._file = file
        self._setting = str(setting)
        self._known: dict[tuple[str, int], tuple[list[list[float]], float]] = {}
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                setting_, sampler, repeat, regrets, seconds = json.loads(line)
                if setting_ == self._setting:
                    self._known[sampler, repeat] = regrets, seconds

    def __contains__(self, replayed: tuple[str, int]) -> bool:
        return replayed in self._known

    def __getitem__(self, replayed: tuple[str, int]) -> tuple[list[list[float]], float]:
        return self._known[replayed]

    def keep(self, replayed: tuple[str, int], result: tuple[list[list[float]], float]) -> None:
        """Store a replay."""
        self._known[replayed] = result
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps([self._setting, *replayed, *result]) + "\n")


def interval(values: Sequence[float]) -> str:
    """Return the mean and half the width of its 95 % interval."""
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):.3f} ± {half:.3f}"


def set_up() -> None:
    """Set up a process for replays."""
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
    parser.add_argument("--macro", type=Path, help="file of NAS-Bench-Macro: its table instead")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--processes", type=int, default=CORES)
    parser.add_argument("--results", type=Path, help="file that keeps the replays that are done")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--out", type=Path, help="a Markdown file with a section for the table")
    options = vars(parser.parse_args())
    names = ("repeats", "samplers", "out", "processes", "results")
    repeats, samplers, out, processes, file = (options.pop(name) for name in names)
    setting = Setting(**options)

    columns = [each for each in SHOWN if each <= setting.evaluations]
    tables: list[list[list[str]]] = [[] for _ in LEADERS]
    factors: list[list[str]] = []
    done = Results(file, setting)
    counts, of_random = random_regrets(setting)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the new processes: one thread each
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=set_up
    ) as pool:
        pending = {
            pool.submit(replay, setting, sampler, repeat): (sampler, repeat)
            for sampler in samplers
            for repeat in range(repeats)
            if (sampler, repeat) not in done
        }
        for future in as_completed(pending):
            done.keep(pending[future], future.result())
    for sampler in samplers:
        results = [done[sampler, repeat] for repeat in range(repeats)]
        milliseconds = f"{1e3 * mean(spent for _, spent in results):.0f}"
        for n, rows in enumerate(tables):
            at = [[regrets[count - 1][n] for regrets, _ in results] for count in columns]
            rows.append([sampler, *map(interval, at), milliseconds])
        each = zip(at, columns, strict=True)
        factors.append([sampler, *(factor(*pair, counts, of_random) for pair in each)])
    parts = [circumstances("cpu"), f"Means of {repeats} repeats."]
    for leaders, rows in zip(LEADERS, tables, strict=True):
        all_seen = [regret_of_all(setting, leaders, repeat) for repeat in range(repeats)]
        last = ["all seen", *[""] * (len(columns) - 1), interval(all_seen), ""]
        which = "the leader" if leaders == 1 else f"the best of {leaders} leaders"
        header = [f"regret of {which} after", *map(str, columns), "ms a proposal"]
        parts.append(table(header, [*rows, last]))
    if setting.scheduler == "none":
        header = ["times the trainings of random search", *map(str, columns)]
        parts.append(table(header, factors))
    body = "\n\n".join(parts)
    print(body)
    if out:
        noise = "exact" if setting.exact else "noisy"
        where = "NAS-Bench-Macro, " if setting.macro else ""
        judged = setting.judged_at or "the end"
        name = f"samplers, {where}{setting.scheduler}, {noise}, judged at {judged}"
        write_section(out, name, body)


if __name__ == "__main__":
    main()
