"""Ranking: equal fidelity, several seeds, intervals, and records that have no value."""

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, sem, t, ttest_ind
from statsmodels.stats import proportion
from statsmodels.stats.power import TTestIndPower

from skipsearch.analysis import interval, level, rank
from skipsearch.analysis.legends import ranking_legend
from skipsearch.analysis.report import _leading
from skipsearch.analysis.ties import tied_with_leader
from skipsearch.design import Design
from skipsearch.metric import ACCURACY, R2, Scale
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, RUNNING, STATES, Epoch, Trial

RUNGS = (1, 3, 9)
IMAGES = 400
SCALE = Scale(ACCURACY, IMAGES)
PLAIN = "conv3-bn-relu-conv3-bn-relu"
RESIDUAL = "conv3-bn-relu-conv3-bn + relu"
AXES = ("layout", "shortcut", "merge", "depths")
COLUMNS = [
    *("design", "recipe", "trial", "state", "epochs", "validation_accuracy", "low", "high"),
    *("std", "n", "tied", "params", "macs", *AXES, "reason", "numerics"),
]


def curve_of(accuracies: list[float]) -> tuple[Epoch, ...]:
    return tuple(Epoch(i, 0.1, 1.0, 0.5, 1.0, a, 2.0) for i, a in enumerate(accuracies, 1))


def record(number: int, accuracies: list[float], **fields: Any) -> Trial:
    """A training; its depth makes its design another one for every number, unless given."""
    state = COMPLETE if len(accuracies) == RUNGS[-1] else PRUNED
    values: dict[str, Any] = {
        "design": Design(layout=RESIDUAL, depths=(number + 1,), widths=(4,)),
        "recipe": Recipe(epochs=9),
        "seed": 0,
        "state": state,
        "reason": "",
        "params": 1000,
        "macs": 5000,
        "device": "cpu (1 thread)",
        "versions": {"torch": "2.15.0"},
    }
    return Trial(number=number, curve=curve_of(accuracies), **(values | fields))


def ranked(*trials: Trial, axes: tuple[str, ...] = AXES) -> pd.DataFrame:
    return rank(trials, RUNGS, SCALE, axes)


def rising(to: float, epochs: int) -> list[float]:
    return [to * (i + 1) / epochs for i in range(epochs)]


# --- equal fidelity ------------------------------------------------------------------------------


def test_a_rung_counts_before_any_value() -> None:
    early = record(0, [0.9, 0.95, 0.99])
    whole = record(1, rising(0.5, 9))
    table = ranked(early, whole)
    assert table.trial.tolist() == [1, 0]
    assert table.epochs.tolist() == [9, 3]
    assert table.state.tolist() == [COMPLETE, PRUNED]
    assert table.validation_accuracy.tolist() == [0.5, 0.99]


def test_the_value_is_that_at_the_rung_not_a_later_nor_the_best_one() -> None:
    one = record(0, [0.1, 0.7, 0.3, 0.8, 0.9])  # five epochs: it stands at rung 3
    other = record(1, [0.1, 0.2, 0.4])
    table = ranked(one, other)
    assert table.trial.tolist() == [1, 0]
    assert table.epochs.tolist() == [3, 3]
    assert table.validation_accuracy.tolist() == [0.4, 0.3]


def test_within_a_rung_the_higher_value_stands_first() -> None:
    values = [0.3, 0.7, 0.5]
    table = ranked(*(record(i, [value]) for i, value in enumerate(values)))
    assert table.trial.tolist() == [1, 2, 0]


def test_of_equal_values_the_smaller_network_stands_first() -> None:
    table = ranked(
        record(0, [0.5], params=300), record(1, [0.5], params=100), record(2, [0.5], params=200)
    )
    assert table.params.tolist() == [100, 200, 300]


def test_places_count_from_one() -> None:
    table = ranked(*(record(i, [i / 10]) for i in range(4)))
    assert table.index.name == "place"
    assert table.index.tolist() == [1, 2, 3, 4]


def test_without_early_stopping_there_is_one_rung() -> None:
    table = rank([record(0, [0.9] * 8, state=RUNNING), record(1, rising(0.1, 9))], (9,), SCALE)
    assert table.trial.tolist() == [1, 0]
    assert table.epochs.tolist() == [9, 0]


accuracies = st.integers(0, IMAGES).map(lambda right: right / IMAGES)
curves = st.lists(accuracies, max_size=9)
no_limit = settings(deadline=None)


@no_limit
@given(st.lists(st.tuples(curves, st.integers(1, 3)), max_size=8))
def test_any_table_is_in_order_and_whole(trials: list[tuple[list[float], int]]) -> None:
    records = [record(i, curve, params=params) for i, (curve, params) in enumerate(trials)]
    table = ranked(*records)
    assert sorted(table.trial) == list(range(len(records)))
    keys = []
    for row in table.itertuples():
        curve = trials[row.trial][0]
        rung = max((r for r in RUNGS if r <= len(curve)), default=0)
        assert row.epochs == rung
        if rung:
            assert row.validation_accuracy == curve[rung - 1]
            assert row.low - 1e-12 <= row.validation_accuracy <= row.high + 1e-12
        keys.append((-rung, -curve[rung - 1] if rung else 0.0, row.params))
    assert keys == sorted(keys)


@no_limit
@given(st.lists(curves, min_size=1, max_size=6), curves)
def test_a_training_never_changes_the_order_above_its_own_rung(
    others: list[list[float]], curve: list[float]
) -> None:
    records = [record(i, values) for i, values in enumerate(others)]
    new = record(len(records), curve)
    before, after = ranked(*records), ranked(*records, new)
    rung = int(after[after.trial == new.number].epochs.iloc[0])
    above = before[before.epochs > rung]
    assert after.trial.tolist()[: len(above)] == above.trial.tolist()
    assert after[after.trial != new.number].trial.tolist() == before.trial.tolist()


# --- several seeds -------------------------------------------------------------------------------


def seeds_of(*curves: list[float], **fields: Any) -> list[Trial]:
    design = Design(layout=RESIDUAL, depths=(50,), widths=(4,))
    return [
        record(100 + seed, curve, seed=seed, design=design, **fields)
        for seed, curve in enumerate(curves)
    ]


@pytest.mark.parametrize("values", [[0.5, 0.6], [0.91, 0.93, 0.9, 0.94], [0.7, 0.7, 0.71]])
def test_seeds_share_a_row_with_the_interval_of_student(values: list[float]) -> None:
    table = ranked(record(0, rising(0.2, 9)), *seeds_of(*(rising(v, 9) for v in values)))
    assert len(table) == 2
    row = table.iloc[0]
    assert (row.n, row.trial, row.epochs) == (len(values), 100, 9)
    assert row.validation_accuracy == pytest.approx(np.mean(values))
    low, high = t.interval(0.95, len(values) - 1, np.mean(values), sem(values))
    assert (row.low, row.high) == pytest.approx((max(0, low), min(1, high)))
    assert table.iloc[1].n == 1


def test_the_interval_of_student_in_figures() -> None:
    # Quantile 0.975 of Student's t at 2 degrees of freedom: 4.303 (any printed table).
    low, high = interval([0.80, 0.85, 0.90], SCALE)
    assert (low, high) == pytest.approx(
        (0.85 - 4.303 * 0.05 / math.sqrt(3), 0.85 + 4.303 * 0.05 / math.sqrt(3)), abs=1e-4
    )


def test_an_interval_stays_within_what_an_accuracy_can_be() -> None:
    assert interval([0.9, 1.0], SCALE)[1] <= 1
    assert interval([0.0, 0.1], SCALE)[0] >= 0


def test_seeds_are_compared_at_the_lowest_rung_among_them() -> None:
    row = ranked(*seeds_of(rising(0.9, 9), [0.1, 0.2, 0.4])).iloc[0]
    assert (row.epochs, row.n) == (3, 2)
    assert row.validation_accuracy == pytest.approx((0.3 + 0.4) / 2)


def test_a_row_is_not_complete_unless_all_its_seeds_are() -> None:
    # COMPLETE is the full budget: Run.trial takes the best of the rows that say so.
    row = ranked(*seeds_of(rising(0.9, 9), [0.1, 0.2, 0.4])).iloc[0]
    assert row.state != COMPLETE


def test_a_seed_that_failed_shows_its_reason() -> None:
    good, bad = seeds_of(rising(0.9, 9), [])
    bad = record(bad.number, [], design=bad.design, seed=1, state=FAIL, reason="out of memory")
    row = ranked(good, bad).iloc[0]
    assert row.epochs == 0
    assert row.reason == "out of memory"


def test_another_recipe_is_another_row_and_another_spelling_is_not() -> None:
    design = Design(layout=PLAIN, shortcut="pad", depths=(1,), widths=(4,))
    spelt = Design(layout=PLAIN, shortcut="omit", merge="cat", depths=(1,), widths=(4,))
    table = ranked(
        record(0, [0.5], design=design),
        record(1, [0.7], design=spelt, seed=1),
        record(2, [0.4], design=design, recipe=Recipe(epochs=9, peak_lr=0.3)),
    )
    assert table.trial.tolist() == [0, 2]
    assert table.n.tolist() == [2, 1]
    assert table.design.nunique() == 1


# --- one seed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [1, 10, 359, 10_000])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.97, 1.0])
def test_one_seed_has_the_interval_of_wilson(images: int, share: float) -> None:
    right = round(share * images)
    row = rank([record(0, [right / images])], RUNGS, Scale(ACCURACY, images)).iloc[0]
    expected = binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high), abs=1e-8)
    # Wilson 1927, written out; 1.959964 is the normal quantile 0.975.
    z, p = 1.959964, right / images
    middle = (p + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * math.sqrt(p * (1 - p) / images + z**2 / (4 * images**2))
    assert (row.low, row.high) == pytest.approx((middle - half, middle + half), abs=1e-6)


def test_the_legend_says_that_the_interval_of_one_seed_ignores_groups() -> None:
    clause = "The interval of one seed treats the images of a group as independent"
    grouped = replace(SCALE, grouped=True)
    assert clause in ranking_legend(grouped)
    assert "of one fold treats" in ranking_legend(replace(grouped, folds=5))
    assert clause not in ranking_legend(SCALE)
    assert clause not in ranking_legend(replace(grouped, metric=R2))  # it has no interval

    def leading(*seeds: float) -> str:
        design = Design(layout=RESIDUAL, depths=(1,), widths=(4,))
        records = (record(i, rising(to, 9), design=design, seed=i) for i, to in enumerate(seeds))
        return " ".join(_leading(rank(list(records), RUNGS, grouped), grouped))

    assert clause in leading(0.9)
    assert clause not in leading(0.9, 0.92)  # the interval is from the deviation of the seeds


# --- ties ----------------------------------------------------------------------------------------


def test_equal_designs_are_tied_and_a_far_better_one_leads_alone() -> None:
    close = ranked(record(0, rising(0.90, 9)), record(1, rising(0.91, 9)))
    assert close.tied.tolist() == [True, True]
    far = ranked(record(0, rising(0.70, 9)), record(1, rising(0.91, 9)))
    assert far.tied.tolist() == [True, False]


def test_what_stands_at_a_lower_rung_is_never_tied() -> None:
    table = ranked(record(0, rising(0.9, 9)), record(1, rising(0.9, 3)), record(2, []))
    assert table.tied.tolist() == [True, False, False]
    assert ranked(record(0, []), record(1, [])).tied.tolist() == [False, False]


@pytest.mark.parametrize("right", [(380, 369), (380, 368), (200, 177), (200, 176)])
def test_one_seed_is_judged_by_the_difference_of_two_shares(right: tuple[int, int]) -> None:
    test = proportion.test_proportions_2indep(
        right[0], IMAGES, right[1], IMAGES, method="agresti-caffo", alternative="larger"
    )
    expected = bool(test.pvalue >= 0.05)
    assert expected == (right[1] in (369, 177))  # One image decides.
    assert tied_with_leader([[k / IMAGES] for k in right], SCALE) == [True, expected]


@pytest.mark.parametrize("shift", [0.001, 0.003, 0.005, 0.007, 0.010])
def test_several_seeds_are_judged_by_the_t_test(shift: float) -> None:
    rng = np.random.default_rng(0)
    leader = rng.normal(0.95, 0.005, 20)
    other = leader[::-1] - shift
    p_value = ttest_ind(leader, other, alternative="greater").pvalue
    expected = bool(p_value >= 0.05)
    assert tied_with_leader([leader.tolist(), other.tolist()], SCALE) == [True, expected]


def test_designs_whose_seeds_all_agree_are_apart_by_more_than_rounding_only() -> None:
    # The error of a difference of two means of 9 numbers rounded to 1/100: 0.0014.
    for gap, expected in ((0.002, True), (0.005, False)):
        assert tied_with_leader([[0.91] * 9, [0.91 - gap] * 9], Scale(ACCURACY, 100)) == [
            True,
            expected,
        ]


def test_the_deviation_of_others_serves_a_design_of_one_seed() -> None:
    rng = np.random.default_rng(1)
    several = [sorted(rng.normal(0.9, 0.002, 6)) for _ in range(3)]
    # By 400 images alone, 0.9 and 0.93 would be tied.
    assert tied_with_leader([[0.93], [0.9]], SCALE) == [True, True]
    assert tied_with_leader([[0.93], *several], SCALE) == [True, False, False, False]


def test_weak_designs_that_scatter_do_not_blur_the_leaders() -> None:
    rng = np.random.default_rng(2)
    leaders = [list(mean + rng.normal(0, 0.001, 10)) for mean in (0.98, 0.97, 0.96, 0.95)]
    weak = [list(rng.normal(0.5, 0.1, 10)) for _ in range(50)]
    assert tied_with_leader(leaders + weak, SCALE)[:4] == [True, False, False, False]


def test_a_design_whose_own_seeds_scatter_counts_with_its_own_deviation() -> None:
    steady = [[0.98, 0.981, 0.979, 0.98]] * 10
    assert tied_with_leader([*steady, [0.91] * 4], SCALE)[-1] is False
    assert tied_with_leader([*steady, [0.98, 0.98, 0.98, 0.70]], SCALE)[-1] is True
    assert tied_with_leader([*steady, [0.5, 0.6, 0.4, 0.5]], SCALE)[-1] is False


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize("designs", [2, 30])
def test_the_truly_best_is_tied_with_the_leader_as_often_as_promised(
    designs: int, seeds: int
) -> None:
    # All truly equal: the hardest case. The noise is that of seeds and of the images.
    rng = np.random.default_rng(3)
    kept = 0
    runs = 300
    for _ in range(runs):
        values = rng.binomial(IMAGES, 0.9, (designs, seeds)) / IMAGES
        order = np.argsort(-values.mean(axis=1))
        tied = tied_with_leader(values[order].tolist(), SCALE)
        kept += tied[int(np.flatnonzero(order == 0)[0])]
    # 0.95 less two standard errors of so many runs.
    assert kept / runs >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / runs)


def test_a_better_design_is_found_at_the_power_of_the_t_test() -> None:
    # Two designs, eight seeds each: power 0.80 at 1.29 deviations, one-sided 5 % (any table).
    power = TTestIndPower().power(1.29, 8, 0.05, alternative="larger")
    assert power == pytest.approx(0.80, abs=0.01)
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(500):
        best, other = rng.normal([[0.95 + 1.29 * 0.005], [0.95]], 0.005, (2, 8))
        order = sorted([best.tolist(), other.tolist()], key=lambda seeds: -fmean(seeds))
        found += order[0] == best.tolist() and tied_with_leader(order, SCALE) == [True, False]
    # A design whose own deviation is the larger counts with that, which costs a little power.
    assert 0.66 <= found / 500 <= 0.84


def test_the_deviation_between_seeds_is_shown_where_there_are_several() -> None:
    table = ranked(*seeds_of(rising(0.8, 9), rising(0.9, 9)), record(0, rising(0.5, 9)))
    assert table["std"].tolist() == [
        pytest.approx(np.std([0.8, 0.9], ddof=1)),
        pytest.approx(math.nan, nan_ok=True),
    ]


# --- records without a value ---------------------------------------------------------------------


def test_failed_and_running_trainings_are_shown_with_their_reason() -> None:
    table = ranked(
        record(0, [], state=RUNNING),
        record(1, [], state=FAIL, reason="out of memory"),
        record(2, [0.1]),
        record(3, [0.6, 0.7], state=FAIL, reason="the loss became nan in epoch 3 of 9"),
    )
    assert table.trial.tolist() == [3, 2, 0, 1]
    assert table.state.tolist() == [FAIL, PRUNED, RUNNING, FAIL]
    assert table.epochs.tolist() == [1, 1, 0, 0]
    assert table.reason.tolist() == [
        *("the loss became nan in epoch 3 of 9", "", "", "out of memory"),
    ]
    assert table.validation_accuracy.iloc[0] == 0.6
    assert table.iloc[2:][["validation_accuracy", "low", "high"]].isna().all(axis=None)
    assert table.iloc[:2][["validation_accuracy", "low", "high"]].notna().all(axis=None)


def test_no_records_give_an_empty_table_with_all_columns() -> None:
    table = ranked()
    assert table.empty
    assert table.columns.tolist() == COLUMNS
    assert table.index.name == "place"


# --- columns -------------------------------------------------------------------------------------


def test_the_columns_are_those_of_the_documentation() -> None:
    table = ranked(record(0, [0.5], params=7, macs=8))
    assert table.columns.tolist() == COLUMNS
    design = Design(layout=RESIDUAL, depths=(1,), widths=(4,))
    assert table.loc[1, ["design", "params", "macs"]].tolist() == [design.id, 7, 8]
    assert ranked(axes=("groups", "recipe.peak_lr")).columns.tolist() == [
        *COLUMNS[:13],
        *("groups", "recipe.peak_lr", "reason", "numerics"),
    ]


def test_a_row_names_the_numerics_of_all_its_trainings() -> None:
    keys = ["cpu (2 threads), float32", "cpu (1 thread), bfloat16", ""]
    seeds = [record(0, rising(0.5, 9), seed=seed, numerics=key) for seed, key in enumerate(keys)]
    table = ranked(*seeds, record(1, rising(0.4, 9)))
    assert table.numerics.tolist() == ["cpu (1 thread), bfloat16; cpu (2 threads), float32", ""]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"layout": PLAIN, "merge": "cat"}, [PLAIN, "-", "-", "[1, 2]", "-", "-", "-", 0.3]),
        (
            {"layout": RESIDUAL, "drop_path": 0.1},
            [RESIDUAL, "proj", "add", "[1, 2]", "-", "-", 0.1, 0.3],
        ),
        (
            {"layout": "conv3-dropout-conv3 +", "merge": "cat", "compression": 0.75},
            ["conv3-dropout-conv3 +", "-", "cat", "[1, 2]", 0.75, 0.0, 0.0, 0.3],
        ),
        (
            {"layout": (PLAIN, RESIDUAL), "shortcut": ("pad", "omit")},
            [f"['{PLAIN}', '{RESIDUAL}']", "['pad', 'omit']", "add", "[1, 2]", "-", "-", 0.0, 0.3],
        ),
    ],
    ids=["plain", "add", "cat", "per stage"],
)
def test_an_axis_without_effect_is_a_dash(fields: dict[str, Any], shown: list[object]) -> None:
    axes = (*AXES, "compression", "dropout", "drop_path", "recipe.peak_lr")
    design = Design(depths=(1, 2), widths=(4, 8), **fields)
    recipe = Recipe(epochs=9, peak_lr=0.3)
    table = ranked(record(0, [0.5], design=design, recipe=recipe), axes=axes)
    assert table.loc[1, list(axes)].tolist() == shown


def test_a_table_survives_csv(tmp_path: Path) -> None:
    table = ranked(
        record(0, rising(1 / 3, 9)),
        record(1, [0.1, 0.2, 2 / 3], design=Design(layout=PLAIN, depths=(1,), widths=(4,))),
        record(2, [], state=FAIL, reason='a reason, with "quotes"'),
        *seeds_of(rising(0.7, 9), rising(0.8, 9)),
    )
    table.to_csv(tmp_path / "ranking.csv")
    read = pd.read_csv(
        tmp_path / "ranking.csv",
        index_col="place",
        dtype={"design": str},  # an id may be all digits
        na_values={name: [""] for name in ("validation_accuracy", "low", "high", "std")},
        keep_default_na=False,
    )
    assert set(read.state) <= set(STATES)
    pd.testing.assert_frame_equal(
        read, table, check_dtype=False, check_index_type=False, rtol=1e-12
    )


# --- levels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axis", "shown"),
    [
        ("shortcut[0]", "pad"),
        ("shortcut[1]", "-"),  # a plain stage
        ("shortcut[2]", "-"),  # concatenated
        ("shortcut[3]", "-"),  # no such stage
        ("merge[1]", "-"),
        ("merge[2]", "cat"),
        ("depths[1]", 2),
        ("layout[0].before", "bn-relu"),
        ("layout[0].between1", "bn"),
        ("layout[0].before_join", ""),
        ("layout[0].after_join", "relu"),
        ("layout[2].between1", "-"),  # of one convolution
        ("layout.before", "-"),  # no layout of the whole network
    ],
)
def test_a_stage_and_a_slot_have_levels_of_their_own(axis: str, shown: object) -> None:
    design = Design(
        layout=("bn-relu-conv3-bn-conv3 + relu", PLAIN, "bn-conv3 +"),
        merge=("add", "add", "cat"),
        shortcut=("pad", "omit", "proj"),
        depths=(1, 2, 3),
        widths=(4, 8, 8),
    )
    assert level(record(0, [0.5], design=design), axis) == shown


def test_a_slot_of_the_layout_of_all_stages_is_a_level() -> None:
    trial = record(0, [0.5], design=Design(layout="conv3-bn-relu-conv3-bn + relu"))
    slots = ("before", "between1", "before_join", "after_join")
    assert [level(trial, f"layout.{slot}") for slot in slots] == ["", "bn-relu", "bn", "relu"]
