"""How much each axis matters at equal fidelity, by Optuna's two measures."""

from __future__ import annotations

import warnings
from math import nan

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)

from skipsearch.analysis.observations import NO_EFFECT, Observations

LEAST = 20  # designs; with fewer, neither measure means anything
BEST = 0.1  # the share of the designs that PED-ANOVA holds against all of them
FEWEST_BEST = 5  # and the least number of those, as Optuna advises
TREES = 32
STEPS = 5  # from a tree's root to a leaf; deeper ones take minutes where axes have many levels
MOST = 1_000  # designs; of more, so many drawn at random tell as much, in a part of the time


def importance(seen: Observations) -> pd.DataFrame:
    """Tell how much each axis matters, at equal fidelity, by two measures of Optuna.

    *PED-ANOVA* (Watanabe, Bansal & Hutter 2023, arXiv:2304.10255) asks which axes distinguish the
    best tenth of the designs from all that were trained; an axis without effect on some designs is
    judged among the others, as Optuna 5 does it (arXiv:2601.20800). *fANOVA* (Hutter, Hoos &
    Leyton-Brown 2014, proceedings.mlr.press/v32/hutter14.html) asks which axes explain the
    variance over the whole space, as a random forest of 32 trees of depth 5 has learned it. It
    cannot treat an axis that has no effect on some designs: there it is NaN, and the others share
    the whole.

    Both are relative: they add up to 1 whatever the noise, and say neither which level is better
    nor whether that is certain; ``effects`` does. A sampler that has trained good designs more
    often has changed what both measure. Equal fidelity is as in ``observe``; the seeds of a design
    are averaged, and numbers with many values are cut into thirds. Of more than 1,000 designs so
    many are drawn at random.

    Args:
        seen: What ``observe`` returns.

    Returns:
        One row an axis that has two levels or more, the most important by PED-ANOVA first, with
        columns

        axis
        epochs       the rung
        designs      on which it has an effect
        ped_anova    from 0 to 1; NaN where fewer than 20 designs were compared
        fanova       the same; NaN also where the axis has no effect on some of them
    """
    axes = seen.axes
    compared = seen.table[seen.table["value"].notna()]
    designs = compared.groupby("cell").agg({"value": "mean", **dict.fromkeys(axes, "first")})
    levels = {axis: designs[axis][designs[axis] != NO_EFFECT] for axis in axes}
    varied = [axis for axis in axes if levels[axis].nunique() > 1]
    table = pd.DataFrame(
        {
            "axis": varied,
            "epochs": seen.epochs,
            "designs": [len(levels[axis]) for axis in varied],
            "ped_anova": nan,
            "fanova": nan,
        }
    )
    if len(designs) < LEAST or not varied:
        return table
    if len(designs) > MOST:
        designs = designs.sample(MOST, random_state=0)
        levels = {axis: levels[axis][levels[axis].index.isin(designs.index)] for axis in axes}
    study = _study(designs, {axis: list(levels[axis].unique()) for axis in varied})
    quantile = max(BEST, FEWEST_BEST / len(designs))
    by_quantile = PedAnovaImportanceEvaluator(target_quantile=quantile)
    by_forest = FanovaImportanceEvaluator(n_trees=TREES, max_depth=STEPS, seed=0)
    everywhere = [axis for axis in varied if len(levels[axis]) == len(designs)]
    table["ped_anova"] = table.axis.map(_shares(study, by_quantile, varied))
    if everywhere:
        table["fanova"] = table.axis.map(_shares(study, by_forest, everywhere))
    return table.sort_values("ped_anova", ascending=False, kind="stable", ignore_index=True)


def _study(designs: pd.DataFrame, levels: dict[str, list[str]]) -> optuna.Study:
    """Return a study that holds one finished trial a design."""
    distributions = {axis: CategoricalDistribution(names) for axis, names in levels.items()}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    columns = [designs[axis] for axis in levels]
    for value, *row in zip(designs["value"], *columns, strict=True):
        params = {a: name for a, name in zip(levels, row, strict=True) if name != NO_EFFECT}
        theirs: dict[str, BaseDistribution] = {axis: distributions[axis] for axis in params}
        trial = optuna.trial.create_trial(params=params, distributions=theirs, value=value)
        study.add_trial(trial)
    return study


def _shares(
    study: optuna.Study, evaluator: BaseImportanceEvaluator, axes: list[str]
) -> dict[str, float]:
    with warnings.catch_warnings():
        # Where a level was hardly tried PED-ANOVA warns, and leaves that part out.
        warnings.simplefilter("ignore", UserWarning)
        return get_param_importances(study, evaluator=evaluator, params=axes)
