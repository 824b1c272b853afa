"""Runs side by side: orders that agree, that do not, and how sure that is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from skipsearch.analysis.agreement import FEWEST, Compared, compare
from skipsearch.classics import FULL_PREACTIVATION, ORIGINAL
from skipsearch.cost import cost
from skipsearch.design import Design
from skipsearch.errors import RunError
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, Epoch, Trial

AXES = ("layout", "depths")
RUNGS = (1, 3)
DESIGNS = [
    Design(layout=layout, shortcut="pad", widths=(8, 16), depths=(n, m))
    for layout in (ORIGINAL, FULL_PREACTIVATION)
    for n in (1, 2, 3, 4, 5)
    for m in (1, 2)
]


def training(design: Design, accuracies: list[float], **fields: Any) -> Trial:
    curve = [Epoch(i + 1, 0.1, 1.0, 0.5, 1.0, a, 1.0) for i, a in enumerate(accuracies)]
    figures = cost(design, 3, 32, 10)
    known: dict[str, Any] = {
        "number": 0,
        "design": design,
        "recipe": Recipe(epochs=3),
        "seed": 0,
        "state": COMPLETE if len(accuracies) == 3 else PRUNED,
        "reason": "",
        "curve": tuple(curve),
        "params": figures.params,
        "macs": figures.macs,
        "device": "cpu",
        "versions": {},
    }
    return Trial(**known | fields)


def run(values: dict[Design, float], epochs: int = 3) -> Compared:
    trials = [training(d, [v] * epochs, number=i) for i, (d, v) in enumerate(values.items())]
    return Compared(trials, RUNGS, AXES, "accuracy")


def test_equal_orders_agree_and_opposite_ones_do_not() -> None:
    up = {design: 0.5 + i / 100 for i, design in enumerate(DESIGNS)}
    down = {design: 0.9 - i / 100 for i, design in enumerate(DESIGNS)}
    table = compare({"a": run(up), "b": run(up), "c": run(down)})
    by_design = table[table.by == "design"].set_index(["run", "other"])
    assert by_design.tau.to_dict() == {("a", "b"): 1, ("a", "c"): -1, ("b", "c"): -1}
    assert 0.8 < by_design.low["a", "b"] < by_design.high["a", "b"] < 1
    assert by_design.best["a", "c"] == DESIGNS[-1].id
    assert by_design.best_other["a", "c"] == DESIGNS[0].id
    assert set(table.by) == {"design", *AXES}


def test_tau_is_scipys_and_its_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    rho = 0.6
    truth = 2 / math.pi * math.asin(rho)  # of two normal variables (Greiner's relation)
    covered = 0
    for _ in range(100):
        first = rng.normal(size=len(DESIGNS))
        second = rho * first + math.sqrt(1 - rho**2) * rng.normal(size=len(DESIGNS))
        table = compare(
            {
                "a": run(dict(zip(DESIGNS, first.tolist(), strict=True))),
                "b": run(dict(zip(DESIGNS, second.tolist(), strict=True))),
            }
        )
        row = table[table.by == "design"].iloc[0]
        assert row.tau == pytest.approx(kendalltau(first, second).statistic)
        covered += row.low <= truth <= row.high
    assert 88 <= covered <= 100  # 95 of 100 in the mean; fewer than 88 once in 700


def test_values_are_taken_where_every_training_has_been() -> None:
    designs = DESIGNS[:8]
    trials = [training(d, [0.1 + i / 100, 0.9, 0.9 - i / 100]) for i, d in enumerate(designs)]
    trials[3] = training(designs[3], [0.99])  # stopped after its first epoch
    failed = training(designs[4], [], state=FAIL, reason="diverged")
    early = Compared([*trials, failed], RUNGS, AXES, "accuracy")
    table = compare({"early": early, "late": run(dict.fromkeys(designs, 0.5))})
    row = table[table.by == "design"].iloc[0]
    assert (row.epochs, row.epochs_other) == (1, 3)
    assert row.best == designs[3].id


def test_seeds_and_recipes_of_a_design_are_one_value() -> None:
    good, bad = DESIGNS[:2]
    trials = [
        training(good, [0.6] * 3),
        training(good, [0.8] * 3, seed=1, recipe=Recipe(epochs=3, peak_lr=0.3)),
        training(bad, [0.69] * 3),
    ]
    table = compare({"a": Compared(trials, RUNGS, (), "accuracy"), "b": run({good: 0.9, bad: 0.8})})
    assert table.n.tolist() == [2]
    assert table.tau.tolist() == [1]


def test_few_things_in_order_have_no_interval() -> None:
    few = dict(zip(DESIGNS[: FEWEST - 1], (0.1, 0.2, 0.3, 0.4, 0.5), strict=True))
    table = compare({"a": run(few), "b": run(few)})
    assert table.low.isna().all()
    nothing_common = compare({"a": run(few), "b": run({DESIGNS[-1]: 0.5})})
    assert nothing_common.n.tolist() == [0, 0, 0]
    assert nothing_common.tau.isna().all()


def test_what_cannot_be_compared_is_refused() -> None:
    one = run({DESIGNS[0]: 0.5})
    with pytest.raises(RunError, match="two runs"):
        compare({"a": one})
    empty = Compared([training(DESIGNS[0], [], state=FAIL)], RUNGS, AXES, "accuracy")
    with pytest.raises(RunError, match="b: no training has reached epoch 1"):
        compare({"a": one, "b": empty})
