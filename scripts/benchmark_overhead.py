"""Cost per trial of our driver in large studies; a part of ``benchmark_search.py``.

One study in SQLite is filled with synthetic trainings, by the cheapest sampler. At each size, a
copy of it is opened with each of several samplers, in a separate process. Trials are then proposed,
reported epoch by epoch with the lengths that early stopping would give, and finished. Nothing is
trained.

``python scripts/benchmark_overhead.py propose 100 1000 10000`` measures the proposals of the
surrogate alone, in CPU time and with the study in memory; set ``OMP_NUM_THREADS=1``.
"""

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, median

import optuna
import psutil
from benchmark_tables import table
from optuna.storages import BaseStorage, InMemoryStorage

from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, PRUNED, Environment, Epoch
from skipsearch.searching.plans import Plan
from skipsearch.searching.storage import open_storage
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space

NAME = "overhead"
SAMPLERS = ("surrogate", "tpe", "random", "evolution", "local")
MEASURED = 50  # measured trials
WARM = 3  # warm-up trials
EPOCHS = 9
# Of 9 trainings, 6 end at the first rung and 2 at the second.
ENDS = (1, 1, 1, 1, 1, 1, 3, 3, EPOCHS)

# Large and with a continuous axis, so that no proposal is rejected as a duplicate.
SPACE = Space.from_dict(
    {
        "name": "large",
        "base": {"widths": [16, 32, 64], "depths": [3, 3, 3], "merge": "add"},
        "axes": {
            "layout": {"convs": ["conv3", "conv3"], "free": ["bn", "relu"]},
            "shortcut": ["pad", "proj", "proj-all", "avg-proj", "omit"],
            "depths": [[n, m, k] for n in (1, 2, 3) for m in (1, 2, 3) for k in (1, 2, 3)],
            "drop_path": {"low": 0.0, "high": 0.3, "step": 0.05},
            "recipe.peak_lr": {"low": 0.01, "high": 1.0, "log": True},
        },
    }
)


def study_of(storage: str | BaseStorage, sampler: str) -> SearchStudy:
    """Open the study."""
    plan = Plan(space=SPACE, recipe=Recipe(epochs=EPOCHS), trials=10**9, sampler=sampler)
    return SearchStudy(storage, NAME, plan)


def train(study: SearchStudy, rng: random.Random) -> Iterator[tuple[str, float]]:
    """Run one trial of a study, and yield the seconds of each part of the driver's work."""
    start = time.perf_counter()
    proposal = study.ask()
    yield "suggest", time.perf_counter() - start
    assert proposal is not None
    last, accuracy = rng.choice(ENDS), rng.random() / 2
    environment = Environment(device="cpu", versions={"python": "3", "torch": "2"})
    epochs = []
    for number in range(1, last + 1):
        accuracy += (1 - accuracy) * rng.random() / 3
        epochs.append(Epoch(number, 0.1, 1.0, accuracy, 1.0, accuracy, 1.0))
        start = time.perf_counter()
        study.report(proposal.number, epochs, environment)
        yield "record", time.perf_counter() - start
    start = time.perf_counter()
    study.finish(proposal.number, COMPLETE if last == EPOCHS else PRUNED)
    yield "finish", time.perf_counter() - start


def filled(size: int) -> InMemoryStorage:
    """Return a study in memory with synthetic trainings."""
    memory, rng = InMemoryStorage(), random.Random(0)
    study = study_of(memory, "random")
    for _ in range(size):
        for _ in train(study, rng):
            pass
    return memory


def fill(root: Path, sizes: Sequence[int]) -> None:
    """Create a study of each size in a folder, filled in memory, which is fast, and then copied."""
    memory = filled(max(sizes))
    trials = optuna.load_study(study_name=NAME, storage=memory).get_trials(deepcopy=False)
    for size in sizes:
        storage = open_storage(url(root / str(size)), quick=True)
        with contextlib.closing(study_of(storage, "random")):
            optuna.load_study(study_name=NAME, storage=storage).add_trials(trials[:size])


def propose(size: int) -> list[float]:
    """Return the CPU milliseconds of each proposal of the surrogate in a study of a given size."""
    study, rng = study_of(filled(size), "surrogate"), random.Random(0)
    spent = []
    for _ in range(WARM + MEASURED):
        parts = train(study, rng)
        start = time.process_time()
        next(parts)
        spent.append(1e3 * (time.process_time() - start))
        for _ in parts:
            pass
    return spent[WARM:]


def url(folder: Path) -> str:
    """Return the URL of the storage in a folder, which is created."""
    folder.mkdir(exist_ok=True)
    return f"sqlite:///{folder}/study.db"


def measure(folder: Path, sampler: str) -> dict[str, float]:
    """Run some trials of the study in a folder, and return the costs per trial."""
    rng = random.Random(0)
    start = time.perf_counter()
    with contextlib.closing(study_of(url(folder), sampler)) as study:
        opened = time.perf_counter() - start
        for _ in range(WARM):
            for _ in train(study, rng):
                pass
        walls, parts, cpu = [], dict.fromkeys(("suggest", "record", "finish"), 0.0), 0.0
        for _ in range(MEASURED):
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            for part, seconds in train(study, rng):
                parts[part] += seconds
            walls.append(time.perf_counter() - wall_start)
            cpu += time.process_time() - cpu_start
        return {
            "opened, s": opened,
            "ms a trial, median": 1e3 * median(walls),
            "mean": 1e3 * mean(walls),
            "CPU": 1e3 * cpu / MEASURED,
            **{part: 1e3 * seconds / MEASURED for part, seconds in parts.items()},
            "memory, MB": psutil.Process().memory_info().rss / 1e6,
        }


def overhead(sizes: Sequence[int]) -> str:
    """Return a table of the costs per trial in studies of given numbers of trials."""
    rows, header = [], []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _again("fill", root, *sizes)
        for size, sampler in product(sorted(sizes), SAMPLERS):
            copy = shutil.copytree(root / str(size), root / "copy")
            result = json.loads(_again("measure", copy, sampler))
            shutil.rmtree(copy)
            header = ["trials recorded", "sampler", *result]
            rows.append([f"{size:,}", sampler, *(f"{each:.1f}" for each in result.values())])
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    text = (
        f"Milliseconds of the driver's own work for a trial (suggest, record, finish) in a study"
        f" in SQLite, {MEASURED} trials each; the parts are means."
    )
    return f"{text}\n\n{table(header, rows)}"


def _again(*words: object) -> str:
    """Run a part in a separate process, with its own memory and caches; return its output."""
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def main() -> None:
    """Run one of the processes."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("fill", "measure", "propose"))
    parser.add_argument("rest", nargs="+", help="a folder, or the sizes of studies")
    options = parser.parse_args()
    if options.what == "fill":
        fill(Path(options.rest[0]), [int(size) for size in options.rest[1:]])
    elif options.what == "measure":
        print(json.dumps(measure(Path(options.rest[0]), *options.rest[1:])))
    else:
        for size in map(int, options.rest):
            spent = propose(size)
            of = f"mean {mean(spent):.0f}, greatest {max(spent):.0f}, n = {len(spent)}"
            print(f"{size:,} records: median {median(spent):.0f} ms of CPU, {of}", flush=True)


if __name__ == "__main__":
    main()
