"""Which axis matters most: shares of the variance, beside the importances of Optuna.

    python scripts/benchmark_importance.py [--trials 60] [--repeats 20] [--out FILE]

Searches are replayed on ``tables/digits.csv``, as in ``benchmark_intervals.py``. After the last
training, the importance of each axis is computed from the same trainings by ``analysis.importance``
and by two evaluators of Optuna. Parameters that a design does not have are missing in its trials.
The truth is the variance of the means of an axis' levels over that of all designs of the table.
Optuna's importances add up to 1 and are defined differently: PED-ANOVA, its default, tells which
parameter separates the best tenth of the trials from the others. So the columns are not comparable
number by number. The question is whether they name the axis that explains most.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import optuna
from benchmark_intervals import World, digits, searched
from benchmark_tables import circumstances, table, write_section
from optuna.importance import (
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.importance._base import BaseImportanceEvaluator

import skipsearch as ss
from skipsearch import analysis
from skipsearch.intervals import wilson
from skipsearch.metric import ACCURACY, Scale
from skipsearch.record import COMPLETE
from skipsearch.training import tune_process

HERE = Path(__file__).parent
OURS = "skipsearch"
EVALUATORS: dict[str, BaseImportanceEvaluator] = {
    "Optuna, fANOVA": FanovaImportanceEvaluator(seed=0),
    "Optuna, PED-ANOVA": PedAnovaImportanceEvaluator(),
}

Shares = Mapping[str, float]  # of each axis


def true_shares(world: World) -> Shares:
    """Return the variance of the means of each axis' levels, over that of all designs."""
    truth = np.array(list(world.truth.values()))
    shares = {}
    for axis in world.space.parameters:
        levels = np.array([str(each[axis]) for each in world.levels.values()])
        active = levels != "None"
        groups = [truth[active & (levels == level)] for level in set(levels[active])]
        between = sum(len(g) * (g.mean() - truth[active].mean()) ** 2 for g in groups)
        shares[axis] = float(between / len(truth) / truth.var())
    return shares


def by_skipsearch(world: World, trials: Sequence[ss.Trial]) -> Shares:
    """Return the shares by the posterior."""
    known = analysis.learn(trials, world.space, 1, Scale(ACCURACY, world.images))
    assert known is not None
    found = analysis.importance(known)
    single = found[found.other == ""]
    return dict(zip(single.axis, single.share, strict=True))


def by_optuna(
    world: World, trials: Sequence[ss.Trial], evaluator: BaseImportanceEvaluator
) -> Shares:
    """Return the importances by an evaluator of Optuna, which may leave out parameters."""
    study = optuna.create_study(direction="maximize")
    choices: dict[str, set[Any]] = defaultdict(set)
    for each in world.levels.values():
        for axis, level in each.items():
            choices[axis].add(level)
    for trial in trials:
        if trial.state != COMPLETE:
            continue
        levels = world.levels[f"{trial.design.id}-{trial.recipe.id}"]
        params = {axis: level for axis, level in levels.items() if level is not None}
        study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions={
                    axis: optuna.distributions.CategoricalDistribution(
                        sorted(choices[axis] - {None}, key=str)
                    )
                    for axis in params
                },
                value=trial.curve[-1].validation_score,
            )
        )
    return get_param_importances(study, evaluator=evaluator)


def shown(shares: Sequence[float]) -> str:
    """Return the mean and the standard deviation of shares."""
    return f"{mean(shares):.2f} ± {stdev(shares):.2f}" if len(shares) > 1 else "-"


def main() -> None:
    """Replay searches and print a table for each sampler."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, default=HERE / "tables/digits.csv")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--samplers", nargs="+", default=["surrogate", "random"])
    parser.add_argument("--out", type=Path, help="a Markdown file with a section for the table")
    options = parser.parse_args()
    tune_process(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    world = digits(options.table)
    truth = true_shares(world)
    axes = sorted(truth, key=lambda axis: -truth[axis])
    rows = [["", "the table", *(f"{truth[axis]:.2f}" for axis in axes), "-"]]
    for sampler in options.samplers:
        found: dict[str, list[Shares]] = defaultdict(list)
        for repeat in range(options.repeats):
            search = searched(world, sampler, repeat)
            trials = [trial for trial, _ in zip(search, range(options.trials), strict=False)]
            found[OURS].append(by_skipsearch(world, trials))
            for name, evaluator in EVALUATORS.items():
                found[name].append(by_optuna(world, trials, evaluator))
        for name, shares in found.items():
            first = sum(max(each, key=each.__getitem__) == axes[0] for each in shares)
            low, high = wilson(first / len(shares), len(shares))
            named = f"{first} of {len(shares)} ({100 * low:.0f} to {100 * high:.0f} %)"
            cells = [shown([each[axis] for each in shares if axis in each]) for axis in axes]
            rows.append([sampler, name, *cells, named])
    header = ["sampler", "importance by", *axes, f"{axes[0]} is first"]
    text = (
        f"After {options.trials} trainings. Means ± standard deviations over {options.repeats}"
        " searches; in brackets 95 % intervals (Wilson)."
    )
    body = f"{circumstances('cpu')}\n\n{text}\n\n{table(header, rows)}"
    print(body)
    if options.out:
        write_section(options.out, "importance of the axes", body)


if __name__ == "__main__":
    main()
