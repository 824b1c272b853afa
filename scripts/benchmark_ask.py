"""Number of trainings until the best level of each axis in question is known, in replayed searches.

    python scripts/benchmark_ask.py [--axis layout] [--repeats 100] [--work FILE] [--out FILE]

Several axes, as in ``--axis layout,merge,depths``, are asked about together.
Each replay is stored as a line in the file given by ``--work``, and is not repeated later.

The table is that of ``train_table.py``: every design of a space, trained to the end from several
seeds. A replay is a search at concurrency 1 with the study of real searches, except that each
training is looked up in the table. The order of a design's seeds is drawn anew for each repeat and
is the same for all searches. ``--seeds`` limits how often a search may train a design. The truth is
the mean of a level over all designs that have it, and over all seeds.

A question is *settled* when each level is known to be worse than the best one or tied with it,
according to the posterior of ``--ask`` or the paired test of ``effects``. A search that is not
settled at the end of its budget counts with that budget. *Reversed* is a level reported as worse
that is in truth better; *no tie* is a level reported as tied that differs by more than the margin.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import optuna
from benchmark_tables import circumstances, table, write_section
from numpy.typing import NDArray
from train_table import load_space, read

from skipsearch import analysis
from skipsearch.analysis.effects import UNKNOWN
from skipsearch.intervals import wilson
from skipsearch.metric import ACCURACY, Scale
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, Environment, Epoch
from skipsearch.searching.plans import Plan
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space
from skipsearch.surrogate.answers import OPEN, TIED, WORSE
from skipsearch.surrogate.inquiry import Inquiry, Training
from skipsearch.training import tune_process

IMAGES = 359  # images in the validation split of digits
SCALE = Scale(ACCURACY, IMAGES)
ASK = "--ask"
Verdicts = dict[str, dict[str, str]]  # of each axis: the verdict on each level, the best one first
BOOTSTRAP = 10_000
TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Way:
    """A way to answer a question.

    Attributes:
        name: Name in the table.
        sampler: One of ``SAMPLERS``, or ``--ask``.
        paired: Whether the paired test answers, rather than the posterior.
        every: Number of trainings between two looks at the answer.
        most: Budget in trainings.
    """

    name: str
    sampler: str
    paired: bool
    every: int
    most: int


@dataclass(frozen=True)
class Known:
    """Finished trainings of a space, by the key of design and recipe."""

    space: Space
    epochs: int
    accuracies: dict[str, list[float]]


@dataclass(frozen=True)
class Found:
    """Result of a replay.

    Attributes:
        trainings: Number of trainings.
        settled: Whether no level was left open.
        worse: True difference to the best level, for each level reported as worse.
        tied: The same for each level reported as tied.
    """

    trainings: int
    settled: bool
    worse: list[float]
    tied: list[float]


def known(space: str, file: Path, data: str) -> Known:
    """Read a table; a training that diverged counts as 0."""
    rows = list(read(file))
    epochs = sum(name.startswith("accuracy_") for name in rows[0])
    accuracies = defaultdict(list)
    for row in rows:
        cell = row[f"accuracy_{epochs}"]
        accuracies[f"{row['design']}-{row['recipe']}"].append(float(cell) if cell else 0.0)
    return Known(load_space(space, data, epochs), epochs, dict(accuracies))


def kept(file: Path | None, axis: str, margin: float) -> dict[str, dict[int, Found]]:
    """Read the stored replays, by name of the way and number of the repeat."""
    found: dict[str, dict[int, Found]] = defaultdict(dict)
    for line in file.read_text().splitlines() if file and file.exists() else ():
        values = json.loads(line)
        if (values.pop("axis"), values.pop("margin")) == (axis, margin):
            way, repeat = values.pop("way"), values.pop("repeat")
            found[way][repeat] = Found(**values)
    return found


def replay(
    known: Known, way: Way, axes: Sequence[str], margin: float, seeds: int, repeat: int
) -> Found:
    """Run one search until all questions are settled or the budget is spent."""
    recipe = Recipe.from_dict(known.space.recipe)
    inquiry = Inquiry(known.space, axes, margin=margin, scale=SCALE, seed=0, seeds=seeds)
    plan = Plan(
        space=known.space,
        recipe=recipe,
        trials=way.most,
        sampler="random" if way.sampler == ASK else way.sampler,
        seeds=seeds,
        inquiry=inquiry if way.sampler == ASK else None,
    )
    study = SearchStudy(optuna.storages.InMemoryStorage(), "replay", plan)
    study.plan = replace(study.plan, recipe=replace(recipe, epochs=known.epochs))
    seen: list[Training] = []
    answer: Verdicts = {}
    while (proposal := study.ask()) is not None:
        key = proposal.candidate.key
        order = random.Random(f"{repeat} {key}").sample(known.accuracies[key], seeds)
        accuracy = order[proposal.seed]
        curve = [
            Epoch(epoch, 0.0, 0.0, 0.0, 0.0, accuracy, 0.0) for epoch in range(1, known.epochs + 1)
        ]
        study.report(proposal.number, curve, Environment())
        study.finish(proposal.number, COMPLETE)
        seen.append(Training(key, proposal.seed, proposal.candidate.values, accuracy))
        if way.sampler != ASK and len(seen) % way.every == 0:
            answer = paired(known, study, axes) if way.paired else said(inquiry, seen)
            if is_settled(answer):
                break
    if way.sampler == ASK:
        answer = said(inquiry, seen)
    worse, tied = [], []
    for axis, verdicts in answer.items():
        best = next(iter(verdicts))
        truth = true_differences(known, axis, best)
        worse += [truth[level] for level, word in verdicts.items() if word == WORSE]
        tied += [truth[level] for level, word in verdicts.items() if word == TIED and level != best]
    return Found(len(seen), is_settled(answer), worse, tied)


def is_settled(answer: Verdicts) -> bool:
    """Return whether there is an answer that leaves no level open."""
    words = {word for verdicts in answer.values() for word in verdicts.values()}
    return bool(words) and not {UNKNOWN, OPEN} & words


def said(inquiry: Inquiry, seen: Sequence[Training]) -> Verdicts:
    """Return the verdicts by the posterior."""
    answer = {}
    for each in inquiry.answers(seen) or ():
        words = dict(zip(map(shown, each.question.levels), each.verdicts.words, strict=True))
        best = shown(each.question.levels[each.verdicts.reference])
        answer[each.question.axis] = {best: words.pop(best)} | words
    return answer


def paired(known: Known, study: SearchStudy, axes: Sequence[str]) -> Verdicts:
    """Return the verdicts by the paired test of ``effects``."""
    seen = analysis.observe(study.trials(), (known.epochs,), SCALE, tuple(known.space.parameters))
    answer = {}
    for axis in axes:
        found = analysis.paired_effects(seen, axis)
        answer[axis] = dict(zip(map(str, found.level), found.verdict, strict=True))
    return answer


def true_differences(known: Known, axis: str, best: str) -> dict[str, float]:
    """Return the true mean of each level minus that of the best."""
    values = defaultdict(list)
    for candidate in known.space.candidates():
        if axis in candidate.values:
            values[shown(candidate.values[axis])] += known.accuracies[candidate.key]
    means = {level: float(np.mean(each)) for level, each in values.items()}
    return {level: mean - means[best] for level, mean in means.items()} if best else {}


def shown(level: object) -> str:
    """Return a level as text, as in tables."""
    return str(list(level)) if isinstance(level, tuple) else str(level)


def bootstrap(counts: Sequence[float], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the medians of bootstrap samples of counts."""
    drawn = rng.choice(np.asarray(counts), (BOOTSTRAP, len(counts)))
    return np.asarray(np.median(drawn, axis=1))


def row(name: str, found: Sequence[Found], base: Sequence[Found], margin: float) -> list[str]:
    """Return a row of the table."""
    rng = np.random.default_rng(0)
    counts, against = ([float(each.trainings) for each in side] for side in (found, base))
    medians, others = bootstrap(counts, rng), bootstrap(against, rng)
    low, high = np.quantile(medians, TAILS)
    ratio_low, ratio_high = np.quantile(medians / others, TAILS)
    settled = sum(each.settled for each in found)
    worse = [gap for each in found for gap in each.worse]
    tied = [gap for each in found for gap in each.tied]
    right = sum(
        each.settled
        and all(gap <= 0 for gap in each.worse)
        and all(abs(gap) <= margin for gap in each.tied)
        for each in found
    )
    return [
        name,
        share(settled, len(found)),
        f"{median(counts):.0f} ({low:.0f} to {high:.0f})",
        f"{median(counts) / median(against):.2f} ({ratio_low:.2f} to {ratio_high:.2f})",
        share(right, settled),
        share(sum(gap > 0 for gap in worse), len(worse)),
        share(sum(abs(gap) > margin for gap in tied), len(tied)),
    ]


def share(count: int, n: int) -> str:
    """Return a share with its interval."""
    if n == 0:
        return "-"
    low, high = wilson(count / n, n)
    return f"{count} of {n} ({100 * low:.1f} to {100 * high:.1f} %)"


def main() -> None:
    """Replay all ways and print a table."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Replay searches that are asked about an axis.")
    parser.add_argument("--space", default=str(here.parent / "search_spaces/digits_table.yaml"))
    parser.add_argument("--table", type=Path, default=here / "tables/digits.csv")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seeds", type=int, help="of a design; default: all of the table")
    parser.add_argument("--trials", type=int, help="budget; default: all trainings of the table")
    parser.add_argument("--axis", default="layout", help="axis, or several, as in layout,merge")
    parser.add_argument("--margin", type=float, default=0.005)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--only", type=int, nargs="+", metavar="I", help="ways, from 0")
    parser.add_argument("--work", type=Path, help="keep what was replayed in this file")
    parser.add_argument("--out", type=Path, help="a Markdown file with a section for the table")
    options = parser.parse_args()
    tune_process(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    data = known(options.space, options.table, options.data)
    seeds = options.seeds or max(map(len, data.accuracies.values()))
    whole = options.trials or seeds * len(data.accuracies)
    ways = [
        Way("grid x seeds, paired test", "grid", True, 100, whole),
        Way("grid x seeds, posterior", "grid", False, 10, whole),
        Way("search for the best (tpe, no stopping), posterior", "tpe", False, 10, 300),
        Way(f"`--ask {options.axis}`", ASK, False, 1, whole),
    ]
    ways = [ways[i] for i in options.only or range(len(ways))]
    found = kept(options.work, options.axis, options.margin)
    for repeat in range(options.repeats):
        for way in (way for way in ways if repeat not in found[way.name]):
            one = replay(data, way, options.axis.split(","), options.margin, seeds, repeat)
            found[way.name][repeat] = one
            about = {"axis": options.axis, "margin": options.margin, "repeat": repeat}
            line = json.dumps({"way": way.name} | about | asdict(one))
            print(line, file=sys.stderr, flush=True)
            if options.work:
                with options.work.open("a") as file:
                    file.write(line + "\n")
    by_way = {name: list(repeats.values()) for name, repeats in found.items()}
    base = by_way[ways[0].name]
    header = [
        f"which {options.axis} is best",
        "settled",
        "trainings, median",
        "against the first",
        "settled and all right",
        "said to be worse: reversed",
        "said to be tied: no tie",
    ]
    rows = [
        row(way.name, by_way[way.name], base, options.margin) for way in ways if way.name in by_way
    ]
    text = (
        f"Margin {options.margin}; in brackets 95 % intervals (Wilson;"
        " bootstrap for medians and their ratios)."
    )
    body = f"{circumstances('cpu')}\n\n{text}\n\n{table(header, rows)}"
    print(body)
    if options.out:
        write_section(options.out, f"asking about {options.axis}", body)


if __name__ == "__main__":
    main()
