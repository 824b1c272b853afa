"""Train every design of a space with several seeds, and write one row for each training.

    python scripts/train_table.py search_spaces/digits_table.yaml scripts/tables/digits.csv

After an interruption, run it again to resume. ``benchmark_samplers.py`` replays searches on the
table. A row contains the value of each parameter, the ids of design and recipe, the seed, the cost,
the validation accuracy after each epoch, and the seconds of training. Accuracies are missing from
the epoch in which the training diverged.

    python scripts/train_table.py scripts/tables/cifar8.yaml T.csv --data cifar8.npz --designs 40

trains some of the designs, drawn at random, as a pilot. The output at the end shows how well the
table can rank designs: *reliability* is the share of the variance of the designs' means that is not
noise of their seeds (1 - s^2 / (n v), with n seeds of variance s^2 and means of variance v). In the
best quarter, it shows whether a search that finds the best designs can be distinguished from one
that does not.
"""

import argparse
import csv
import json
import math
import multiprocessing
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev, variance

from benchmark_tables import CORES, circumstances

import skipsearch as ss
from skipsearch.space import Candidate
from skipsearch.training import train_several, tune_process

Row = dict[str, object]


def main() -> None:
    """Train the missing rows of the table, then sort its rows."""
    parser = argparse.ArgumentParser(description="Train every design of a space.")
    parser.add_argument("space", help="a finite space, such as search_spaces/digits_table.yaml")
    parser.add_argument("table", type=Path, help="CSV to write, or to resume")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--designs", type=int, help="train so many, drawn at random; default: all")
    options = parser.parse_args()

    space = load_space(options.space, options.data, options.epochs)
    candidates = list(space.candidates())
    if options.designs is not None:
        candidates = random.Random(0).sample(candidates, options.designs)
    seeds = range(options.seeds)
    accuracies = [f"accuracy_{epoch}" for epoch in range(1, options.epochs + 1)]
    header = [*space.parameters, "design", "recipe", "seed", "params", "macs", *accuracies]
    header.append("seconds")

    head = f"# {circumstances('cpu')}".replace("\n\n    ", "\n# ")
    if not options.table.exists():
        options.table.parent.mkdir(parents=True, exist_ok=True)
        options.table.write_text(f"{head}\n{','.join(header)}\n")
    done = {(row["design"], row["recipe"]) for row in read(options.table)}
    work = partial(train, data_name=options.data, seeds=seeds)
    with (
        options.table.open("a", newline="") as file,
        ProcessPoolExecutor(
            CORES, multiprocessing.get_context("spawn"), initializer=tune_process, initargs=(1,)
        ) as pool,
    ):
        writer = csv.DictWriter(file, header, lineterminator="\n")
        missing = [c for c in candidates if ids(c) not in done]
        for number, future in enumerate(as_completed(pool.submit(work, c) for c in missing), 1):
            writer.writerows(future.result())
            file.flush()  # all seeds of a design at once, so that a design is never incomplete
            print(f"{number} of {len(missing)} designs", flush=True)

    order = {ids(candidate): place for place, candidate in enumerate(candidates)}
    rows = sorted(
        read(options.table),
        key=lambda row: (order[row["design"], row["recipe"]], int(row["seed"])),
    )
    with options.table.open("r") as file:
        head = "".join(line for line in file if line.startswith("#"))
    with options.table.open("w", newline="") as file:
        file.write(head)
        writer = csv.DictWriter(file, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(reliability(rows, accuracies[-1]))


def reliability(rows: Sequence[Mapping[str, str]], last: str) -> str:
    """Describe how well a table ranks designs, overall and in its best quarter."""
    seeds: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row[last]:
            seeds.setdefault((row["design"], row["recipe"]), []).append(100 * float(row[last]))
    whole = sorted((values for values in seeds.values() if len(values) > 1), key=mean, reverse=True)
    parts = []
    for name, some in (("all", whole), ("the best quarter", whole[: max(len(whole) // 4, 2)])):
        noise = mean(variance(values) for values in some)
        means = [mean(values) for values in some]
        share = 1 - noise / mean(map(len, some)) / variance(means)
        parts.append(
            f"{name}: {share:.2f} (designs differ by {stdev(means):.2f}, seeds by"
            f" {noise**0.5:.2f} points)"
        )
    return f"reliability of {len(whole)} designs' means; {'; '.join(parts)}"


def load_space(path: str, data_name: str, epochs: int) -> ss.Space:
    """Read a space, and set the recipe that a search would have, so that ids are equal."""
    data, space = ss.load_data(data_name), ss.Space.load(path)
    recipe = ss.Recipe(**space.recipe, epochs=epochs).resolve(data.augmentation)
    space = space.for_images(data.in_channels, data.image_size, data.classes)
    return replace(space, recipe=recipe.to_dict())


def ids(candidate: Candidate) -> tuple[str, str]:
    """Return the ids of design and recipe, which identify a training in the table."""
    return candidate.design.id, candidate.recipe.id


def read(table: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table, without the comments at its top."""
    with table.open(newline="") as file:
        yield from csv.DictReader(line for line in file if not line.startswith("#"))


def train(candidate: Candidate, data_name: str, seeds: Sequence[int]) -> list[Row]:
    """Train one design with each seed, all at once, and return one row per seed."""
    data = ss.load_data(data_name).without_test()
    models = [
        ss.build(candidate.design, data.in_channels, data.classes, seed=seed) for seed in seeds
    ]
    curves = zip(*train_several(models, data, candidate.recipe, seeds, packed=True), strict=True)
    cost = ss.cost(candidate.design, data.in_channels, data.image_size, data.classes)
    design, recipe = ids(candidate)
    rows = []
    for seed, curve in zip(seeds, curves, strict=True):
        row: Row = {
            name: json.dumps(value) if isinstance(value, tuple) else value
            for name, value in candidate.values.items()
        }
        row |= {"design": design, "recipe": recipe, "seed": seed}
        row |= {"params": cost.params, "macs": cost.macs}
        for epoch in curve:
            if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.validation_loss)):
                break
            row[f"accuracy_{epoch.epoch}"] = f"{epoch.validation_score:.5f}"
        # The seeds are trained at once; each has its share of the time.
        row["seconds"] = f"{sum(epoch.seconds for epoch in curve):.3f}"
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
