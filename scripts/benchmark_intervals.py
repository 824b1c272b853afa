"""Check intervals and verdicts in searches replayed on tables whose truth is known.

    python scripts/benchmark_intervals.py --work /tmp/intervals.jsonl
    python scripts/benchmark_intervals.py --work FILE --macro nas-bench-macro_cifar10.json
    python scripts/benchmark_intervals.py --work FILE --table-only    # tables of stored replays

A replay is a search at concurrency 1 without early stopping, with the study of real searches,
except that each training is looked up in the table: at a seed of the design, drawn with
replacement. The truth has no noise, since the table is the population: the accuracy of a design is
the mean of its seeds. A training that diverged counts as guessing. After 24, 60 and 120 trainings,
``analysis.effects`` is computed for all axes, as in the report of a run, and each statement is
compared with the table.

The tables are ``tables/digits.csv`` (300 designs, 5 seeds each) and NAS-Bench-Macro (6,561
networks, 3 seeds; Su et al. 2021, arXiv:2103.11922), in which each layer is an axis. Its space is
written as three layouts in eight stages, since no network is built. Its file is not part of this
project.

Replays are appended to the file of ``--work`` one by one; an interrupted run resumes from it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nas_bench_macro
import numpy as np
import optuna
from benchmark_tables import circumstances, table, write_section
from train_table import load_space, read

import skipsearch as ss
from skipsearch import analysis
from skipsearch.config import SAMPLERS
from skipsearch.defaults import MARGIN
from skipsearch.metric import ACCURACY, Scale
from skipsearch.record import COMPLETE, DIVERGED, FAIL, Environment
from skipsearch.searching.plans import Plan
from skipsearch.searching.samplers import DEFAULT
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Candidate, Space

HERE = Path(__file__).parent
SHOWN = (24, 60, 120)  # trainings after which effects are computed
BINS = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0)

Fact = dict[str, Any]


@dataclass(frozen=True)
class World:
    """A table of trainings.

    Attributes:
        name: Name of the table.
        space: Space of its designs.
        images: Number of images in the validation split.
        accuracies: Accuracy of each seed, by the key of the design; NaN if the training diverged.
        truth: Mean accuracy of each design; a training that diverged counts as guessing.
        levels: Level of each design by axis; None if the axis has no effect.
    """

    name: str
    space: Space
    images: int
    accuracies: Mapping[str, Sequence[float]]
    truth: Mapping[str, float]
    levels: Mapping[str, Mapping[str, object]]

    @classmethod
    def of(
        cls, name: str, space: Space, images: int, seen: Mapping[str, tuple[Candidate, list[float]]]
    ) -> World:
        """Create a world from the candidate and the accuracies of each design, by its key."""
        guess = 1 / space.classes
        accuracies = {key: values for key, (_, values) in seen.items()}
        truth = {key: float(np.mean(np.nan_to_num(v, nan=guess))) for key, v in accuracies.items()}
        levels = {
            key: {axis: shown(candidate, axis) for axis in space.parameters}
            for key, (candidate, _) in seen.items()
        }
        return cls(name, space, images, accuracies, truth, levels)


def shown(candidate: Candidate, axis: str) -> object:
    """Return a level as ``effects`` shows it; None if the axis has no effect."""
    value = candidate.values.get(axis)
    return str(list(value)) if isinstance(value, tuple) else value


def digits(file: Path) -> World:
    """Read a table of ``train_table.py``."""
    rows = list(read(file))
    epochs = sum(name.startswith("accuracy_") for name in rows[0])
    space = load_space(str(HERE.parent / "search_spaces/digits_table.yaml"), "digits", epochs)
    seen: dict[str, tuple[Candidate, list[float]]] = {c.key: (c, []) for c in space.candidates()}
    for row in rows:
        last = row[f"accuracy_{epochs}"]
        seen[f"{row['design']}-{row['recipe']}"][1].append(float(last) if last else math.nan)
    images = len(ss.load_data("digits").validation)
    return World.of("digits", space, images, seen)


def macro(file: Path) -> World:
    """Read NAS-Bench-Macro."""
    space, accuracies = nas_bench_macro.space(), nas_bench_macro.read(file)
    seen = {each.key: (each, accuracies[each.key]) for each in space.candidates()}
    return World.of("NAS-Bench-Macro", space, nas_bench_macro.IMAGES, seen)


def searched(world: World, sampler: str, repeat: int) -> Iterator[ss.Trial]:
    """Yield the trainings of one search."""
    recipe = ss.Recipe.from_dict(world.space.recipe)
    plan = Plan(
        space=world.space, recipe=recipe, trials=len(world.truth), seed=repeat, sampler=sampler
    )
    study = SearchStudy(optuna.storages.InMemoryStorage(), "replay", plan)
    study.plan = replace(study.plan, recipe=replace(recipe, epochs=1))  # a full training
    rng = random.Random(f"luck {repeat}")
    while (proposal := study.ask()) is not None:
        accuracy = rng.choice(world.accuracies[proposal.candidate.key])
        failed = math.isnan(accuracy)
        state, reason = (FAIL, f"{DIVERGED} nan") if failed else (COMPLETE, "")
        curve = () if failed else (ss.Epoch(1, 0.0, 0.0, 0.0, 0.0, accuracy, 0.0),)
        study.report(proposal.number, list(curve), Environment())
        study.finish(proposal.number, state, reason)
        yield ss.Trial(
            number=proposal.number,
            design=proposal.candidate.design,
            recipe=proposal.candidate.recipe,
            seed=repeat,
            state=state,
            reason=reason,
            curve=curve,
            params=1,
            macs=1,
            device="",
            versions={},
        )


def facts(world: World, trials: Sequence[ss.Trial]) -> Iterator[Fact]:
    """Yield the statements about each level, with the truth."""
    known = analysis.learn(trials, world.space, 1, Scale(ACCURACY, world.images))
    assert known is not None
    found = analysis.effects(known, with_further=False)
    truth = np.array(list(world.truth.values()))
    best = max(world.truth, key=world.truth.__getitem__)
    for axis in world.space.parameters:
        levels = np.array([str(each[axis]) for each in world.levels.values()])
        rows = list(found[found.axis == axis].itertuples())
        of = {str(row.level): truth[levels == str(row.level)] for row in rows}
        first = of[str(rows[0].level)]
        leading = of[str(next(row.level for row in rows if row.bd_low == row.bd_high == 0))]
        for place, row in enumerate(rows):
            mine = of[str(row.level)]
            mean, top = mine.mean() - first.mean(), mine.max() - leading.max()
            yield {
                "axis": axis,
                "reference": place == 0,
                "leading": mine is leading,
                "mean": bool(row.low <= mine.mean() <= row.high),
                "best": bool(row.best_low <= mine.max() <= row.best_high),
                "difference": bool(row.d_low <= mean <= row.d_high),
                "best_difference": bool(row.bd_low <= top <= row.bd_high),
                "verdict": row.verdict,
                "best_verdict": row.best_verdict,
                "true": float(mean),
                "true_best": float(top),
                "chance": float(row.chance),
                "is_best": str(world.levels[best][axis]) == str(row.level),
                "width": float(row.d_high - row.d_low),
                "best_width": float(row.bd_high - row.bd_low),
            }


def share(hits: Iterable[bool]) -> str:
    """Return a share in percent with two standard errors, as if all values were independent."""
    values = list(hits)
    if not values:
        return "-"
    mean = float(np.mean(values))
    error = 2 * math.sqrt(max(mean * (1 - mean), 1 / len(values)) / len(values))
    return f"{100 * mean:.1f} ± {100 * error:.1f}"


def coverage(by_repeat: Mapping[int, Sequence[Fact]], what: str, but: str) -> str:
    """Return the share of intervals that contain the truth, with its error over repeats."""
    shares = [
        np.mean([fact[what] for fact in facts if not fact.get(but)]) for facts in by_repeat.values()
    ]
    error = 2 * float(np.std(shares)) / math.sqrt(len(shares))
    return f"{100 * float(np.mean(shares)):.1f} ± {100 * error:.1f}"


def claims(facts: Sequence[Fact], verdict: str, true: str, but: str) -> tuple[str, str]:
    """Return how many levels are reported as worse or tied, and how many of them wrongly."""
    worse = [fact[true] >= 0 for fact in facts if fact[verdict] == "worse"]
    tied = [abs(fact[true]) > MARGIN for fact in facts if fact[verdict] == "tied" and not fact[but]]
    texts = [f"{sum(each)} of {len(each):,}" for each in (worse, tied)]
    return texts[0], texts[1]


def tables(work: Sequence[Fact]) -> Iterator[str]:
    """Yield the tables of all replays."""
    groups: dict[tuple[str, str, int], dict[int, list[Fact]]] = defaultdict(dict)
    for entry in work:
        groups[entry["world"], entry["sampler"], entry["trainings"]][entry["repeat"]] = entry[
            "facts"
        ]
    lines, by_axis, questions, chances = [], [], [], []
    for (world, sampler, trainings), by_repeat in sorted(groups.items()):
        everything = [fact for facts in by_repeat.values() for fact in facts]
        name = [world, sampler, str(trainings)]
        covered = [
            coverage(by_repeat, what, but)
            for what, but in (
                ("mean", ""),
                ("difference", "reference"),
                ("best", ""),
                ("best_difference", "leading"),
            )
        ]
        average, at_best = (
            claims(everything, verdict, true, but)
            for verdict, true, but in (
                ("verdict", "true", "reference"),
                ("best_verdict", "true_best", "leading"),
            )
        )
        lines.append([*name, str(len(by_repeat)), *covered, *average, *at_best])
        axes = list(dict.fromkeys(fact["axis"] for fact in everything))
        for axis in axes:
            theirs = {r: [f for f in facts if f["axis"] == axis] for r, facts in by_repeat.items()}
            others = [f for facts in theirs.values() for f in facts if not f["reference"]]
            said = [
                any(f["verdict"] in ("worse", "tied", "best") for f in each)
                for each in theirs.values()
            ]
            settled = [
                all(f["verdict"] != "not enough data" for f in each) for each in theirs.values()
            ]
            by_axis.append(
                [
                    *name,
                    axis,
                    share(f["difference"] for f in others),
                    share(
                        f["best_difference"]
                        for facts in theirs.values()
                        for f in facts
                        if not f["leading"]
                    ),
                ]
            )
            width = 100 * float(np.median([f["width"] for f in others]))
            questions.append([*name, axis, share(said), share(settled), f"{width:.1f}"])
        for low, high in pairwise(BINS):
            inside = [
                f for f in everything if low <= f["chance"] < high or high == f["chance"] == 1
            ]
            if inside:
                mean = float(np.mean([f["chance"] for f in inside]))
                true = share(f["is_best"] for f in inside)
                chances.append(
                    [*name, f"{low:g} to {high:g}", str(len(inside)), f"{100 * mean:.1f}", true]
                )
    head = ["table", "sampler", "trainings"]
    yield (
        "95 % intervals that hold the truth, in % (± two standard errors over the searches);"
        " claims that are false.\n\n"
        + table(
            [
                *head,
                *("searches", "means", "their differences", "at best", "their differences"),
                "worse on average: reversed",
                "tied: not within 0.5",
                "worse at best: reversed",
                "tied at best: not within 0.5",
            ],
            lines,
        )
    )
    yield "By axis, intervals of differences.\n\n" + table(
        [*head, "axis", "of means", "at best"], by_axis
    )
    yield (
        "Searches that say something of the levels of an axis on average, and that leave none open,"
        " in %; the median width of a 95 % interval of a difference, in points.\n\n"
        + table([*head, "axis", "say something", "leave none open", "width"], questions)
    )
    yield (
        "The chance that the best design has a level: what was said, and how often it was so,"
        " in %.\n\n" + table([*head, "said", "times", "mean said", "true"], chances)
    )


def main() -> None:
    """Replay searches, print the tables, and write them into a file if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="a file that repeats are added to")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--sampler", choices=SAMPLERS, default=DEFAULT)
    parser.add_argument("--digits", type=Path, default=HERE / "tables/digits.csv")
    parser.add_argument("--macro", type=Path, help="NAS-Bench-Macro's JSON file; without it digits")
    parser.add_argument("--table-only", action="store_true", help="replay nothing")
    parser.add_argument("--out", type=Path, help="write the tables into this file")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = options.work.read_text().splitlines() if options.work.exists() else []
    work = [json.loads(line) for line in lines]
    if not options.table_only:
        world = macro(options.macro) if options.macro else digits(options.digits)
        done = {(e["world"], e["sampler"], e["repeat"], e["trainings"]) for e in work}
        with options.work.open("a") as file:
            for repeat in range(options.repeats):
                if (world.name, options.sampler, repeat, SHOWN[-1]) in done:
                    continue
                trials = []
                for trial in searched(world, options.sampler, repeat):
                    trials.append(trial)
                    if len(trials) in SHOWN:
                        entry = {"world": world.name, "sampler": options.sampler, "repeat": repeat}
                        entry |= {"trainings": len(trials), "facts": list(facts(world, trials))}
                        file.write(json.dumps(entry) + "\n")
                        work.append(entry)
                    if len(trials) == SHOWN[-1]:
                        break
                file.flush()
    body = "\n\n".join(tables(work))
    print(body)
    if options.out:
        body = f"{circumstances('cpu')}\n\n{body}"
        write_section(options.out, "intervals and verdicts, replayed", body)


if __name__ == "__main__":
    main()
