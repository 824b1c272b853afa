"""Importance of axes: a planted truth, Optuna's own answer, and what neither measure can tell."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from skipsearch.analysis import observe
from skipsearch.analysis.importance import importance
from skipsearch.design import Design
from skipsearch.errors import RunError
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, Epoch, Trial

RUNGS = (1, 3)
PLAIN = "conv3-bn-relu-conv3-bn-relu"
LAYOUTS = ("conv3-bn-relu-conv3-bn + relu", "bn-relu-conv3-bn-relu-conv3 +")
SHORTCUTS = ("pad", "proj", "omit")
RATES = (0.02, 0.1, 0.5)
AXES = ("layout", "shortcut", "depths", "recipe.peak_lr")


def record(design: Design, rate: float, values: list[float], **fields: Any) -> Trial:
    given: dict[str, Any] = {"number": 0, "seed": 0, "state": COMPLETE, "reason": ""}
    return Trial(
        design=design,
        recipe=Recipe(epochs=3, peak_lr=rate),
        curve=tuple(Epoch(i, 0.1, 1.0, 0.5, 1.0, v, 2.0) for i, v in enumerate(values, 1)),
        **(given | {"params": 1, "macs": 1, "device": "cpu", "versions": {}} | fields),
    )


def trained(value: Callable[[int, int, int, int], float], seeds: int = 1) -> list[Trial]:
    """Every combination, with a value from the places of its levels."""
    return [
        record(
            Design(layout=layout, shortcut=shortcut, depths=(depth, 1), widths=(4, 8)),
            rate,
            [0.1, 0.2, value(i, j, depth, k)],
            seed=seed,
        )
        for (i, layout), (j, shortcut), depth, (k, rate) in product(
            enumerate(LAYOUTS), enumerate(SHORTCUTS), (1, 2), enumerate(RATES)
        )
        for seed in range(seeds)
    ]


def of(trials: list[Trial], epochs: int | None = None) -> pd.DataFrame:
    return importance(observe(trials, RUNGS, 1_000, AXES, epochs))


def test_the_axis_that_matters_is_found_by_both() -> None:
    rng = np.random.default_rng(0)
    trials = trained(lambda i, j, depth, k: 0.5 + 0.1 * k + 0.02 * j + rng.normal(0, 0.005))
    table = of(trials)
    assert table.columns.tolist() == ["axis", "epochs", "designs", "ped_anova", "fanova"]
    assert table.axis[0] == "recipe.peak_lr"
    assert table.fanova[0] > 0.8
    assert table[["ped_anova", "fanova"]].sum().tolist() == pytest.approx([1, 1])
    assert set(table.epochs) == {3}
    assert set(table.designs) == {36}


def test_values_are_those_of_one_rung() -> None:
    # At rung 1 depth decides, at rung 3 the rate.
    trials = [
        record(
            trial.design,
            trial.recipe.peak_lr,
            [0.3 * trial.design.depths[0], 0.5, trial.recipe.peak_lr],
        )
        for trial in trained(lambda *_: 0.0)
    ]
    assert of(trials).axis[0] == "recipe.peak_lr"
    early = of(trials, epochs=1)
    assert early.axis[0] == "depths"
    assert early.fanova[0] == pytest.approx(1, abs=1e-6)
    with pytest.raises(RunError, match=r"^epochs: 2 is not one of 1, 3"):
        of(trials, epochs=2)


def test_what_ped_anova_says_is_what_optuna_says_of_the_means_over_seeds() -> None:
    rng = np.random.default_rng(1)
    trials = trained(lambda i, j, *_: 0.5 + 0.1 * i + 0.05 * j + rng.normal(0, 0.02), seeds=3)
    study = optuna.create_study(direction="maximize")
    for first in range(0, len(trials), 3):
        trial = trials[first]
        value = float(np.mean([t.curve[-1].validation_accuracy for t in trials[first : first + 3]]))
        fixed = optuna.create_study(direction="maximize")
        asked = fixed.ask(
            {
                "layout": optuna.distributions.CategoricalDistribution(LAYOUTS),
                "shortcut": optuna.distributions.CategoricalDistribution(SHORTCUTS),
                "depths": optuna.distributions.CategoricalDistribution(("[1, 1]", "[2, 1]")),
                "recipe.peak_lr": optuna.distributions.CategoricalDistribution(RATES),
            }
        )
        study.add_trial(
            optuna.trial.create_trial(
                params={
                    "layout": trial.design.layout,
                    "shortcut": trial.design.shortcut,
                    "depths": str(list(trial.design.depths)),
                    "recipe.peak_lr": trial.recipe.peak_lr,
                },
                distributions=asked.distributions,
                value=value,
            )
        )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=5 / 36)
    expected = get_param_importances(study, evaluator=evaluator)
    table = of(trials).set_index("axis")
    assert table.ped_anova.to_dict() == pytest.approx(expected)


def test_an_axis_without_effect_on_some_designs_has_no_fanova() -> None:
    rng = np.random.default_rng(2)
    plain = [
        record(Design(layout=PLAIN, depths=(depth, 1), widths=(4, 8)), rate, [0.1, 0.2, 0.1])
        for depth, rate in product((1, 2), RATES)
    ]
    trials = [*trained(lambda i, j, *_: 0.2 * j + rng.normal(0, 0.01)), *plain]
    table = of(trials).set_index("axis")
    assert table.designs["shortcut"] == 36
    assert table.designs["layout"] == 42
    assert np.isnan(table.fanova["shortcut"])
    assert table.fanova.drop("shortcut").sum() == pytest.approx(1)
    assert table.ped_anova["shortcut"] > table.ped_anova[["depths", "recipe.peak_lr"]].sum()


def test_few_designs_are_not_enough_data() -> None:
    trials = [t for t in trained(lambda *_: 0.5) if t.design.depths == (1, 1)]
    table = of(trials)
    assert table.axis.tolist() == ["layout", "shortcut", "recipe.peak_lr"]  # depths do not vary
    assert table[["ped_anova", "fanova"]].isna().all(axis=None)
    assert of([]).empty


def test_what_failed_is_left_out_and_the_same_records_give_the_same_answer() -> None:
    rng = np.random.default_rng(3)
    trials = trained(lambda i, *_: 0.5 + 0.1 * i + rng.normal(0, 0.02))
    failed = record(trials[0].design, 0.9, [], state=FAIL, reason="out of memory")
    pd.testing.assert_frame_equal(of(trials), of([*trials, failed]))
