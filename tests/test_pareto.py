"""Several objectives: fronts and hypervolumes against brute force, and the table of a run."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume  # private, and the only other one at hand

from skipsearch.analysis import dominated_share, interval, pareto
from skipsearch.analysis.pareto import COSTS, MARGIN, front, hypervolume, reference_point
from skipsearch.design import Design
from skipsearch.errors import RunError
from skipsearch.metric import ACCURACY, R2, Scale
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, RUNNING, Epoch, Trial

IMAGES = 400
SCALE = Scale(ACCURACY, IMAGES)
LAYOUT = "conv3-bn-relu-conv3-bn + relu"
AXES = ("layout", "depths")
BOTH = ("validation_accuracy", "params")
OBJECTIVES = ("validation_accuracy", *COSTS)


def record(number: int, accuracy: float, **fields: Any) -> Trial:
    """A training; its depth makes its design another one for every number, unless given."""
    values: dict[str, Any] = {
        "design": Design(layout=LAYOUT, depths=(number + 1,), widths=(4,)),
        "recipe": Recipe(epochs=2),
        "seed": 0,
        "state": COMPLETE,
        "reason": "",
        # What it had before the end counts for nothing.
        "curve": tuple(Epoch(i, 0.1, 1.0, 0.5, 1.0, a, 2.0) for i, a in ((1, 0.99), (2, accuracy))),
        "params": 1000,
        "macs": 5000,
        "activation_bytes": 700,
        "latency": 0.01,
        "device": "cpu (1 thread)",
        "versions": {"torch": "2.15.0"},
    }
    return Trial(number=number, **(values | fields))


def front_of(*trials: Trial, objectives: tuple[str, ...] = BOTH) -> pd.DataFrame:
    return pareto(trials, objectives, SCALE, AXES)


# --- fronts --------------------------------------------------------------------------------------


def grids(most: int, size: int, largest: int) -> st.SearchStrategy[np.ndarray]:
    """Some points with small whole coordinates, so that ties and equals are common."""
    return st.integers(1, most).flatmap(
        lambda d: st.lists(st.tuples(*[st.integers(0, largest)] * d), max_size=size).map(
            lambda rows: np.array(rows, dtype=float).reshape(-1, d)
        )
    )


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one <= other).all() and (one < other).any())


@settings(deadline=None)
@given(grids(4, 12, 4))
def test_a_front_is_what_no_point_dominates(points: np.ndarray) -> None:
    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert front(points).tolist() == expected


@settings(deadline=None)
@given(grids(4, 12, 4), st.randoms())
def test_the_order_of_points_does_not_matter_to_a_front(points: np.ndarray, random: Any) -> None:
    order = list(range(len(points)))
    random.shuffle(order)
    assert front(points[order]).tolist() == front(points)[order].tolist()


def test_equals_stay_side_by_side() -> None:
    assert front([[1, 2], [2, 1], [1, 2], [2, 2]]).tolist() == [True, True, True, False]
    assert front([[3], [1], [1]]).tolist() == [False, True, True]
    assert front([[0.0, 1.0, 1.0], [-0.0, 1.0, 1.0]]).tolist() == [True, True]


def test_no_points_have_an_empty_front() -> None:
    assert front([]).tolist() == []
    assert front(np.empty((0, 3))).tolist() == []


def test_what_is_no_number_has_no_front() -> None:
    with pytest.raises(AssertionError, match="expected numbers"):
        front([[math.nan, 1.0]])


# --- hypervolume ---------------------------------------------------------------------------------


@settings(deadline=None)
@given(grids(4, 8, 5), st.integers(1, 5))
def test_a_hypervolume_on_a_grid_is_the_number_of_cells(points: np.ndarray, edge: int) -> None:
    d = points.shape[1]
    cells = [np.array(cell) for cell in itertools.product(range(edge), repeat=d)]
    dominated = sum(any((point <= cell).all() for point in points) for cell in cells)
    assert hypervolume(points, [edge] * d) == dominated


coordinates = st.floats(0, 1.2)  # some of them beyond the reference


@settings(deadline=None)
@given(st.integers(1, 4).flatmap(lambda d: st.lists(st.tuples(*[coordinates] * d), max_size=15)))
def test_a_hypervolume_is_that_of_optuna(rows: list[tuple[float, ...]]) -> None:
    reference = np.linspace(1.0, 0.7, len(rows[0]) if rows else 2)
    points = np.array(rows).reshape(-1, len(reference))
    inside = points[(points <= reference).all(axis=1)]  # Optuna refuses the others.
    expected = compute_hypervolume(inside, reference) if len(inside) else 0.0
    assert hypervolume(points, reference) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("n", "objectives"), [(3000, 2), (150, 3), (40, 4), (20, 5)])
def test_many_points_on_a_sphere_have_the_hypervolume_of_optuna(n: int, objectives: int) -> None:
    drawn = np.abs(np.random.default_rng(0).normal(size=(n, objectives)))
    points = 1 - 0.9 * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    assert front(points).all()
    reference = np.ones(objectives)
    expected = compute_hypervolume(points, reference)
    assert hypervolume(points, reference) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(grids(4, 8, 5), st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_a_point_adds_to_a_hypervolume_if_and_only_if_it_is_dominated_by_none(
    points: np.ndarray, new: list[int]
) -> None:
    d = points.shape[1]
    point = np.array(new[:d], dtype=float)
    reference = np.full(d, 6.0)
    before = hypervolume(points, reference)
    after = hypervolume(np.vstack([points, point]), reference)
    covered = any((other <= point).all() for other in points)
    assert (after == before) if covered else (after > before)


def test_a_hypervolume_in_figures() -> None:
    assert hypervolume([[1, 3], [2, 1]], [4, 4]) == 3 + 4  # 3 x 1, and below it 2 x 2
    assert hypervolume([[0.25, 0.5, 0.5]], [1, 1, 1]) == 0.75 * 0.5 * 0.5
    assert hypervolume([[2.0], [0.5]], [3]) == 2.5


@pytest.mark.parametrize("points", [[], np.empty((0, 2)), [[1.0, 0.0]], [[0.0, 1.0]], [[2, 2]]])
def test_what_is_not_below_the_reference_adds_nothing(points: Any) -> None:
    assert hypervolume(points, [1, 1]) == 0.0


def test_a_reference_of_another_length_is_no_reference() -> None:
    with pytest.raises(AssertionError, match=r"expected \(N, objectives\)"):
        hypervolume([[1.0, 2.0], [2.0, 1.0], [0.0, 3.0]], [4, 4, 4])


# --- the table -----------------------------------------------------------------------------------


def test_a_table_holds_what_no_training_beats_rising_in_cost() -> None:
    table = front_of(
        record(0, 0.90, params=3000),
        record(1, 0.70, params=1000),
        record(2, 0.80, params=3500),  # less than 0, for more
        record(3, 0.80, params=2000),
        record(4, 0.70, params=1001),
    )
    assert table.trial.tolist() == [1, 3, 0]
    assert table.params.tolist() == [1000, 2000, 3000]
    assert table.validation_accuracy.tolist() == [0.7, 0.8, 0.9]
    assert (table.index.tolist(), table.index.name) == ([1, 2, 3], "point")


steps = st.integers(0, 4)


@settings(deadline=None)
@given(
    st.lists(st.tuples(steps, steps, steps), max_size=8),
    st.permutations(OBJECTIVES).flatmap(
        lambda names: st.integers(1, 3).map(lambda n: tuple(names[:n]))
    ),
)
def test_any_table_is_the_front_by_brute_force(
    levels: list[tuple[int, int, int]], objectives: tuple[str, ...]
) -> None:
    trials = [
        record(
            i,
            a / 4,
            **dict.fromkeys(("params", "latency"), b + 1),
            **dict.fromkeys(("macs", "activation_bytes"), c + 1),
        )
        for i, (a, b, c) in enumerate(levels)
    ]

    def losses(trial: Trial) -> np.ndarray:
        return np.array(
            [
                -trial.curve[-1].validation_score
                if name == "validation_accuracy"
                else getattr(trial, name)
                for name in objectives
            ]
        )

    expected = {
        trial.number
        for trial in trials
        if not any(dominates(losses(other), losses(trial)) for other in trials)
    }
    table = front_of(*trials, objectives=objectives)
    assert len(table) == len(expected)
    assert set(table.trial) == expected
    costs = [name for name in objectives if name != "validation_accuracy"]
    keys = [
        (*(row[cost] for cost in costs), -row.validation_accuracy) for _, row in table.iterrows()
    ]
    assert keys == sorted(keys)


def test_only_the_full_budget_is_compared() -> None:
    table = front_of(
        record(0, 0.5),
        record(1, 0.9, state=PRUNED),
        record(2, 0.9, state=FAIL, reason="out of memory"),
        record(3, 0.9, state=RUNNING),
    )
    assert table.trial.tolist() == [0]


def test_seeds_share_a_row_with_their_mean() -> None:
    design = Design(layout=LAYOUT, depths=(50,), widths=(4,))
    accuracies = [0.6, 0.8]
    seeds = [
        record(10 + seed, accuracy, seed=seed, design=design, latency=latency)
        for seed, (accuracy, latency) in enumerate(zip(accuracies, [0.02, 0.04], strict=True))
    ]
    stopped = record(12, 0.1, seed=2, design=design, state=PRUNED)
    objectives = ("validation_accuracy", "latency")
    (row,) = front_of(*seeds, stopped, objectives=objectives).itertuples()
    assert (row.trial, row.n) == (10, 2)
    assert row.validation_accuracy == pytest.approx(0.7)
    assert row.latency == pytest.approx(0.03)
    assert (row.low, row.high) == interval(accuracies, SCALE)
    # It is the mean that is compared, not the luckiest seed.
    better = record(20, 0.71, latency=0.029)
    assert front_of(*seeds, better, objectives=objectives).trial.tolist() == [20]


def test_another_recipe_is_another_row() -> None:
    design = Design(layout=LAYOUT, depths=(1,), widths=(4,))
    other = Recipe(epochs=2, peak_lr=0.3)
    table = front_of(record(0, 0.5, design=design), record(1, 0.5, design=design, recipe=other))
    assert table.trial.tolist() == [0, 1]
    assert table.n.tolist() == [1, 1]


def test_what_was_not_measured_is_left_out() -> None:
    trials = (
        record(0, 0.9, latency=None),
        record(1, 0.8, latency=0.02),
        record(2, 0.7, activation_bytes=0),
    )
    assert front_of(*trials, objectives=("validation_accuracy", "latency")).trial.tolist() == [2, 1]
    assert front_of(
        *trials, objectives=("validation_accuracy", "activation_bytes")
    ).trial.tolist() == [0]
    assert front_of(*trials).trial.tolist() == [0]


def test_one_seed_that_was_measured_speaks_for_all() -> None:
    design = Design(layout=LAYOUT, depths=(1,), widths=(4,))
    seeds = [record(i, 0.5, design=design, seed=i, latency=x) for i, x in enumerate((None, 0.5))]
    (row,) = front_of(*seeds, objectives=("latency",)).itertuples()
    assert (row.n, row.latency) == (2, 0.5)


COLUMNS = ["design", "recipe", "trial", "n", "validation_accuracy", "low", "high"]


@pytest.mark.parametrize("trials", [[], [record(0, 0.5, state=PRUNED)]], ids=["none", "stopped"])
@pytest.mark.parametrize("objectives", [BOTH, OBJECTIVES, ("latency", "macs")])
def test_nothing_complete_gives_an_empty_table_with_the_same_columns(
    trials: list[Trial], objectives: tuple[str, ...]
) -> None:
    table = front_of(*trials, objectives=objectives)
    full = front_of(record(0, 0.5), objectives=objectives)
    assert table.empty
    assert len(full) == 1
    assert table.columns.tolist() == full.columns.tolist()
    costs = [name for name in objectives if name != "validation_accuracy"]
    assert full.columns.tolist() == [*COLUMNS, *costs, *AXES, "numerics"]
    assert table.index.name == full.index.name


def test_a_row_says_what_its_training_was() -> None:
    trial = record(3, 0.5, numerics="cpu (1 thread), float32")
    table = pareto([trial], OBJECTIVES, SCALE, ("layout", "shortcut", "recipe.peak_lr"))
    low, high = interval([0.5], SCALE)
    expected = {
        "design": trial.design.id,
        "recipe": trial.recipe.id,
        "trial": 3,
        "n": 1,
        "validation_accuracy": 0.5,
        "low": low,
        "high": high,
        "params": 1000,
        "macs": 5000,
        "activation_bytes": 700,
        "latency": 0.01,
        "layout": LAYOUT,
        "shortcut": "proj",
        "recipe.peak_lr": 0.1,
        "numerics": "cpu (1 thread), float32",
    }
    assert table.loc[1].to_dict() == expected
    assert all(table[cost].dtype == int for cost in COSTS if cost != "latency")


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (("validation_accuracy", "param"), r"objectives\[1\]: 'param' is not one of .*'params'"),
        (("accuracy",), r"objectives\[0\]: 'accuracy' is not one of validation_accuracy, params"),
        (("params", "macs", "params"), r"objectives\[2\]: 'params' is named twice"),
        ((), "objectives: none is named; choose from validation_accuracy, params, macs"),
    ],
)
def test_an_objective_that_is_none_is_refused(objectives: tuple[str, ...], message: str) -> None:
    with pytest.raises(RunError, match=message):
        front_of(objectives=objectives)
    with pytest.raises(RunError, match=message):
        dominated_share([], objectives, SCALE)


# --- the share of a run --------------------------------------------------------------------------


def test_the_reference_lies_a_tenth_behind_the_largest_complete_training() -> None:
    trials = [record(0, 0.9, params=2000), record(1, 0.5), record(2, 0.5, params=9, state=PRUNED)]
    big = record(3, 0.5, params=10**6, state=FAIL)
    assert reference_point([*trials, big], BOTH, SCALE) == {
        "validation_accuracy": 0.0,
        "params": MARGIN * 2000,
    }
    assert reference_point([big], BOTH, SCALE) == {"validation_accuracy": 0.0, "params": 0.0}


def test_a_share_in_figures() -> None:
    trials = [record(0, 0.8, params=1000), record(1, 0.9, params=2000)]
    # Of a box of 2200 parameters by 1: 0.8 from 1000 on, and 0.1 more from 2000 on.
    expected = (1200 * 0.8 + 200 * 0.1) / 2200
    assert dominated_share(trials, BOTH, SCALE) == pytest.approx(expected)
    assert dominated_share(trials, BOTH[::-1], SCALE) == pytest.approx(expected)
    wide = {"validation_accuracy": 0.5, "params": 4000}
    expected = (3000 * 0.3 + 2000 * 0.1) / (4000 * 0.5)
    assert dominated_share(trials, BOTH, SCALE, wide) == pytest.approx(expected)
    assert dominated_share(trials, ("validation_accuracy",), SCALE) == pytest.approx(0.9)


def test_the_most_accurate_counts_though_it_is_the_largest() -> None:
    small, large = record(0, 0.8), record(1, 0.9, params=2000)
    better = dataclasses.replace(large, curve=record(1, 0.95).curve)
    assert dominated_share([small, large], BOTH, SCALE) < dominated_share(
        [small, better], BOTH, SCALE
    )


def test_nothing_complete_covers_nothing() -> None:
    assert dominated_share([], BOTH, SCALE) == 0.0
    assert dominated_share([record(0, 0.9, state=PRUNED)], BOTH, SCALE) == 0.0


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, IMAGES), st.integers(1, 10**7), st.floats(1e-6, 10)),
        min_size=1,
        max_size=6,
    )
)
def test_a_share_is_one_and_never_falls_as_a_run_grows(
    levels: list[tuple[int, int, float]],
) -> None:
    trials = [
        record(i, right / IMAGES, params=params, latency=latency)
        for i, (right, params, latency) in enumerate(levels)
    ]
    objectives = ("validation_accuracy", "params", "latency")
    reference = reference_point(trials, objectives, SCALE)
    shares = [
        dominated_share(trials[:n], objectives, SCALE, reference) for n in range(1, len(trials) + 1)
    ]
    assert all(0 <= share <= 1 for share in shares)
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(shares))
    assert shares[-1] == dominated_share(trials, objectives, SCALE)
    stays = front_of(*trials, objectives=objectives).trial
    kept = [trial for trial in trials if trial.number in set(stays)]
    assert dominated_share(kept, objectives, SCALE, reference) == pytest.approx(shares[-1])


def test_a_score_without_a_limit_is_measured_from_that_of_a_constant_prediction() -> None:
    both = ("validation_r2", "params")
    trials = [record(0, 0.8), record(1, -3.0, params=2000)]
    assert reference_point(trials, both, Scale(R2, 100)) == {
        "validation_r2": 0.0,
        "params": 2000 * MARGIN,
    }
    assert dominated_share(trials, both, Scale(R2, 100)) == pytest.approx(
        0.8 * (1 - 1000 / (2000 * MARGIN))
    )
