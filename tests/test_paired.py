"""Effects of axes: against scipy and statsmodels, and on simulated runs whose truth is known."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from math import ceil, comb, isnan, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp, ttest_ind, ttest_rel
from statsmodels.stats.power import TTestPower

from skipsearch.analysis import Observations, answers, observe
from skipsearch.analysis import paired_effects as effects
from skipsearch.analysis.effects import COLUMNS
from skipsearch.analysis.linear import LinearModel, effect_coded
from skipsearch.design import Design
from skipsearch.errors import RunError
from skipsearch.metric import ACCURACY, Scale
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, RUNNING, Epoch, Trial

RUNGS = (1, 3, 9)
SCALE = Scale(ACCURACY, 100_000)  # so many images that rounding is below every noise here
PLAIN = "conv3-bn-relu-conv3-bn-relu"
POST = "conv3-bn-relu-conv3-bn + relu"
PRE = "bn-relu-conv3-bn-relu-conv3 +"
AFTER = "conv3-bn-relu-conv3 + bn-relu"
LAYOUTS = (POST, PRE, AFTER)
SHORTCUTS = ("pad", "proj", "omit")
AXES = ("layout", "shortcut", "depths", "recipe.peak_lr")


@cache
def design_of(layout: str, shortcut: str, blocks: int, **fields: Any) -> Design:
    return Design(layout=layout, shortcut=shortcut, depths=(blocks, 1), widths=(4, 8), **fields)


@cache
def recipe_of(peak_lr: float) -> Recipe:
    return Recipe(epochs=9, peak_lr=peak_lr)


def record(design: Design, value: float | Sequence[float], seed: int = 0, **fields: Any) -> Trial:
    """A training with this accuracy after its one epoch, or after each of several."""
    values = [value] if isinstance(value, int | float) else list(value)
    given: dict[str, Any] = {
        "number": 0,
        "recipe": recipe_of(0.1),
        "state": COMPLETE,
        "reason": "",
        "params": 1000,
        "macs": 5000,
        "device": "cpu",
        "versions": {},
    }
    curve = tuple(Epoch(i, 0.1, 1.0, 0.5, 1.0, float(a), 2.0) for i, a in enumerate(values, 1))
    return Trial(design=design, seed=seed, curve=curve, **(given | fields))


def runs_of(
    layouts: Sequence[str],
    blocks: int,
    value: Callable[[int, int], float],
    seeds: int = 1,
) -> list[Trial]:
    """Each layout at each depth: ``value(layout, depth)`` is called once a training."""
    return [
        record(design_of(layout, "pad", depth + 1), value(i, depth), seed)
        for i, layout in enumerate(layouts)
        for depth in range(blocks)
        for seed in range(seeds)
    ]


def of(
    trials: Sequence[Trial], axis: str = "layout", axes: Sequence[str] = AXES, **how: Any
) -> pd.DataFrame:
    return effects(seen_in(trials, axes, how.pop("epochs", None)), axis, **how)


def seen_in(
    trials: Sequence[Trial], axes: Sequence[str] = AXES, epochs: int | None = None
) -> Observations:
    return observe(trials, RUNGS, SCALE, axes, epochs)


def row_of(table: pd.DataFrame, level: object) -> Any:
    (row,) = table[table.level == level].itertuples()
    return row


# --- linear models -------------------------------------------------------------------------------

numbers = st.floats(-10, 10).map(lambda x: round(x, 3))
samples = st.lists(numbers, min_size=3, max_size=20).filter(lambda x: len(set(x)) > 1)
no_limit = settings(deadline=None, max_examples=50)


@no_limit
@given(samples)
def test_a_constant_alone_is_the_t_test_of_one_sample(values: list[float]) -> None:
    model = LinearModel(np.ones((len(values), 1)), np.array(values))
    estimate = model.estimate(np.ones(1))
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert estimate.df == pytest.approx(len(values) - 1)
    assert estimate.interval() == pytest.approx((expected.low, expected.high))


@no_limit
@given(samples, samples)
def test_two_groups_are_the_t_test_of_welch(first: list[float], second: list[float]) -> None:
    codes = np.array([0] * len(first) + [1] * len(second))
    model = LinearModel(np.eye(2)[codes], np.array(first + second))
    estimate = model.estimate(np.array([1.0, -1.0]))
    test = ttest_ind(first, second, equal_var=False)
    # Satterthwaite's degrees of freedom with the variances as expected, not as seen.
    n, m = len(first), len(second)
    df = (1 / n + 1 / m) ** 2 / (1 / (n * n * (n - 1)) + 1 / (m * m * (m - 1)))
    assert estimate.value / estimate.error == pytest.approx(test.statistic)
    assert estimate.df == pytest.approx(df)


def test_the_variance_is_the_hc2_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"a": rng.choice(list("xyz"), 60), "b": rng.choice(list("uv"), 60)})
    data["y"] = rng.normal(size=60) * (1 + (data.a == "x")) + (data.a == "y")
    a, b = (pd.factorize(data[name], sort=True)[0] for name in "ab")
    model = LinearModel(np.hstack([np.eye(3)[a], effect_coded(b)]), data.y.to_numpy())
    theirs = smf.ols("y ~ 0 + C(a) + C(b, Sum)", data).fit(cov_type="HC2", use_t=True)
    contrast = np.array([1.0, -1.0, 0.0, 0.0])
    test = theirs.t_test(contrast)
    found = model.estimate(contrast)
    assert (found.value, found.error) == pytest.approx((test.effect[0], test.sd[0, 0]))
    assert model.rank == 4
    assert model.residuals == pytest.approx(theirs.resid.to_numpy())


def test_a_balanced_model_has_the_classical_degrees_of_freedom() -> None:
    a, b, c = np.array(list(product(range(2), range(3), range(4)))).T
    columns = np.hstack([np.eye(2)[a], effect_coded(b), effect_coded(c)])
    model = LinearModel(columns, np.random.default_rng(0).normal(size=24))
    assert model.estimate(np.eye(7)[0] - np.eye(7)[1]).df == pytest.approx(24 - 7)


def test_what_the_data_cannot_tell_is_nan() -> None:
    # Two columns that always stand together, and an observation with a column to itself.
    columns = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=float)
    model = LinearModel(columns, np.array([1.0, 2.0, 3.0, 9.0]))
    assert model.rank == 2
    assert isnan(model.estimate(np.array([1.0, 0, 0])).value)
    assert model.estimate(np.array([1.0, 1.0, 0])).value == pytest.approx(2)
    alone = model.estimate(np.array([0, 0, 1.0]))
    assert alone.value == pytest.approx(9)
    assert not alone.known


def test_a_factor_without_effect_counts_as_the_mean_of_its_levels() -> None:
    coded = effect_coded(np.array([0, 1, 2, -1]))
    assert coded.tolist() == [[1, 0], [0, 1], [-1, -1], [0, 0]]
    assert effect_coded(np.array([-1, -1])).shape == (2, 0)
    assert effect_coded(np.array([0, 0])).shape == (2, 0)


# --- pairs ---------------------------------------------------------------------------------------


def test_two_levels_in_complete_blocks_are_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal([[0.9], [0.88]], 0.01, (2, 12)) + rng.normal(0, 0.05, 12)
    table = of(runs_of([POST, PRE], 12, lambda i, depth: values[i, depth]))
    low, high = sorted(range(2), key=lambda i: values[i].mean())
    test = ttest_rel(values[low], values[high])
    expected = test.confidence_interval(0.95)
    row = table.iloc[1]
    assert row.difference == pytest.approx((values[low] - values[high]).mean())
    assert (row.d_low, row.d_high) == pytest.approx((expected.low, expected.high))
    assert (row.pairs, row.method, row.n, row.designs) == (12, "pairs", 12, 12)
    assert (row.verdict == "worse") == (test.pvalue < 0.05)
    assert table["mean"].tolist() == pytest.approx([values[high].mean(), values[low].mean()])


def test_several_levels_share_the_chance_of_an_error() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal([[0.9], [0.89], [0.88]], 0.01, (3, 10))
    table = of(runs_of(LAYOUTS, 10, lambda i, depth: values[i, depth]))
    best, *others = np.argsort(-values.mean(axis=1))
    for place, other in enumerate(others, 1):
        test = ttest_rel(values[other], values[best]).confidence_interval(1 - 0.05 / comb(3, 2))
        assert (table.d_low[place], table.d_high[place]) == pytest.approx((test.low, test.high))
    assert table.level.tolist() == [LAYOUTS[i] for i in (best, *others)]
    first = table.iloc[0]
    assert (first.difference, first.pairs, first.method) == (0, 0, "")
    assert isnan(first.further)


def test_seeds_of_a_design_are_not_designs_of_their_own() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0.9, 0.01, (2, 8, 5)) + rng.normal(0, 0.03, (2, 8, 1))
    draws = iter(values.reshape(-1))
    table = of(runs_of([POST, PRE], 8, lambda *_: next(draws), seeds=5))
    means = values.mean(axis=2)
    expected = ttest_rel(*sorted(means, key=np.mean)).confidence_interval(0.95)
    assert (table.d_low[1], table.d_high[1]) == pytest.approx((expected.low, expected.high))
    assert (table.n[1], table.designs[1], table.pairs[1]) == (40, 8, 8)


def test_a_plain_layout_is_paired_with_the_mean_over_the_shortcuts() -> None:
    rng = np.random.default_rng(4)
    trials, plain, residual = [], [], []
    for depth in range(1, 9):
        plain.append(rng.normal(0.8, 0.01))
        values = rng.normal((0.9, 0.92, 0.94), 0.01)
        residual.append(values.mean())
        trials.append(record(design_of(PLAIN, "pad", depth), plain[-1]))
        trials += [
            record(design_of(POST, shortcut, depth), value)
            for shortcut, value in zip(SHORTCUTS, values, strict=True)
        ]
    table = of(trials)
    expected = ttest_rel(plain, residual).confidence_interval(0.95)
    assert table.level.tolist() == [POST, PLAIN]
    assert (table.d_low[1], table.d_high[1]) == pytest.approx((expected.low, expected.high))
    assert table.pairs[1] == 8
    shortcuts = of(trials, "shortcut")
    assert sorted(shortcuts.level) == sorted(SHORTCUTS)  # the plain designs have none
    assert shortcuts.n.tolist() == [8, 8, 8]


def test_one_pair_of_designs_with_several_seeds_is_compared_by_its_seeds() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal([[0.9], [0.89]], 0.01, (2, 6)) + rng.normal(0, 0.02, 6)
    draws = iter(values.reshape(-1))
    table = of(runs_of([POST, PRE], 1, lambda *_: next(draws), seeds=6))
    expected = ttest_rel(*sorted(values, key=np.mean)).confidence_interval(0.95)
    row = table.iloc[1]
    assert (row.d_low, row.d_high) == pytest.approx((expected.low, expected.high))
    assert (row.pairs, row.method) == (6, "seeds")


def test_pairs_of_folds_are_called_so() -> None:
    rng = np.random.default_rng(5)
    draws = iter(rng.normal([[0.9], [0.8]], 0.01, (2, 6)).reshape(-1))
    trials = runs_of([POST, PRE], 1, lambda *_: next(draws), seeds=6)
    scale = Scale(ACCURACY, 100_000, folds=6)
    table = effects(observe(trials, RUNGS, scale, AXES), "layout")
    assert (table.method[1], table.pairs[1]) == ("folds", 6)
    assert "6 pairs of folds)" in answers(table, ACCURACY)[0]


def test_a_few_designs_with_several_seeds_are_taken_as_given() -> None:
    # The difference is another one at each depth, which is no noise where these are meant.
    rng = np.random.default_rng(6)
    gaps = np.array([0.01, 0.05, 0.09])
    values = rng.normal(0.8, 0.005, (2, 3, 5)) + np.stack([0 * gaps, gaps])[..., None]
    draws = iter(values.reshape(-1))
    table = of(runs_of([POST, PRE], 3, lambda *_: next(draws), seeds=5))
    row = table.iloc[1]
    assert (row.method, row.pairs) == ("seeds", 15)
    differences = values[0] - values[1]
    error = sqrt((differences.var(axis=1, ddof=1) / 5).sum()) / 3
    assert row.difference == pytest.approx(differences.mean())
    half = t.ppf(0.975, 12) * error
    assert (row.d_low, row.d_high) == pytest.approx((row.difference - half, row.difference + half))


# --- the model -----------------------------------------------------------------------------------


RATES = (0.02, 0.05, 0.1, 0.2)


def without_pairs(rng: np.random.Generator, gain: float = 0.0) -> list[Trial]:
    """Of each shortcut, rate and depth one layout, turn about: no two designs make a pair."""
    return [
        record(
            design_of((POST, PRE)[(s + r + depth) % 2], shortcut, depth),
            0.6
            + 0.02 * depth
            + 0.03 * s
            + 0.3 * rate
            + gain * ((s + r + depth) % 2)
            + rng.normal(0, 0.01),
            recipe=recipe_of(rate),
        )
        for s, shortcut in enumerate(SHORTCUTS)
        for r, rate in enumerate(RATES)
        for depth in range(1, 6)
    ]


def frame_of(trials: Sequence[Trial]) -> pd.DataFrame:
    """The same for statsmodels."""
    columns = ["y", "layout", "shortcut", "depth", "rate"]
    rows = [
        (
            *(trial.curve[0].validation_score, trial.design.layout, trial.design.shortcut),
            *(trial.design.depths[0], trial.recipe.peak_lr),
        )
        for trial in trials
    ]
    return pd.DataFrame(rows, columns=columns)


def test_without_pairs_the_model_is_that_of_statsmodels() -> None:
    trials = without_pairs(np.random.default_rng(7), gain=0.004)
    fit = smf.ols("y ~ layout + shortcut + C(depth) + C(rate)", frame_of(trials)).fit(
        cov_type="HC2", use_t=True
    )
    table = of(trials)
    row = table.iloc[1]
    sign = 1 if row.level == POST else -1  # theirs is POST over PRE, the first by the alphabet
    assert (row.method, row.pairs, row.n) == ("model", 0, 30)
    name = f"layout[T.{POST}]"
    assert row.difference == pytest.approx(sign * fit.params[name])
    half = t.ppf(0.975, fit.df_resid) * fit.bse[name]
    assert row.d_high - row.difference == pytest.approx(half, rel=0.02)


def test_a_level_that_always_goes_with_another_axis_is_not_enough_data() -> None:
    trials = [record(design_of((POST, PRE)[depth % 2], "pad", depth), 0.8) for depth in (1, 2)] * 5
    table = of(trials)
    assert table.verdict.tolist() == ["not enough data"] * 2
    assert table[["difference", "d_low", "further"]].iloc[1].isna().all()
    assert answers(table, ACCURACY) == [
        f"layout: Not enough data to tell; '{table.level[0]}' leads."
    ]


def test_where_few_of_many_designs_stand_in_pairs_the_model_tells() -> None:
    # 150 draws from 720 designs: seven pairs or so of two shortcuts, and no level without any.
    rng = np.random.default_rng(33)
    space = list(product(LAYOUTS, SHORTCUTS, range(1, 21), (0.1, 0.2, 0.3, 0.4)))
    trials = [
        record(
            design_of(layout, shortcut, depth),
            0.7 + 0.02 * SHORTCUTS.index(shortcut) + 0.01 * (layout == PRE) + rng.normal(0, 0.01),
            recipe=recipe_of(rate),
        )
        for layout, shortcut, depth, rate in (space[i] for i in rng.permutation(720)[:150])
    ]
    table = of(trials, "shortcut", ("layout", "shortcut", "depths", "recipe.peak_lr"))
    assert set(table.method[1:]) == {"model"}
    assert table.level.tolist() == ["omit", "proj", "pad"]
    for row, truth in zip(table.iloc[1:].itertuples(), (-0.02, -0.04), strict=True):
        assert row.d_low < truth < row.d_high
        assert row.d_high - row.d_low < 0.015
        assert row.verdict == "worse"


def test_means_are_adjusted_for_the_company_that_a_level_keeps() -> None:
    # PRE is better by 2 points, and was trained at the poor rate far more often.
    rng = np.random.default_rng(8)
    trials = []
    for depth, (layout, rate) in enumerate(
        [(PRE, 0.02)] * 20 + [(PRE, 0.2)] * 4 + [(POST, 0.02)] * 4 + [(POST, 0.2)] * 20
    ):
        value = 0.7 + 0.02 * (layout == PRE) + 0.2 * (rate == 0.2) + rng.normal(0, 0.002)
        trials.append(record(design_of(layout, "pad", depth + 1), value, recipe=recipe_of(rate)))
    axes = ("layout", "recipe.peak_lr")
    table = effects(seen_in(trials, axes), "layout")
    plain = frame_of(trials).groupby("layout").y.mean()
    assert plain[PRE] < plain[POST] - 0.05
    assert table["mean"][0] - table["mean"][1] == pytest.approx(0.02, abs=0.003)
    assert table.level.tolist() == [PRE, POST]


# --- the truth is known --------------------------------------------------------------------------


def simulated(
    rng: np.random.Generator, gains: Sequence[float], blocks: int, noise: float = 0.01
) -> list[Trial]:
    """Layouts that truly differ by so much, in designs that differ by far more."""
    level = rng.normal(0.8, 0.05, blocks)
    return runs_of(
        LAYOUTS[: len(gains)],
        blocks,
        lambda i, depth: level[depth] + gains[i] + rng.normal(0, noise * (1 + i)),
    )


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    # All pairs of three levels at once, and unlike noise in each.
    rng, gains, runs = np.random.default_rng(9), (0.01, 0.0, 0.005), 150
    held = 0
    for _ in range(runs):
        table = of(simulated(rng, gains, 10), axes=("layout", "depths"))
        truth = dict(zip(LAYOUTS, gains, strict=True))
        best = truth[table.level[0]]
        held += all(
            row.d_low <= truth[row.level] - best <= row.d_high for row in table.itertuples()
        )
    print(f"intervals that hold the truth: {held / runs:.3f} (0.95 promised)")
    assert 0.95 - 2 * sqrt(0.05 * 0.95 / runs) <= held / runs


def test_the_intervals_of_the_model_hold_the_truth_too() -> None:
    rng, runs = np.random.default_rng(10), 200
    held = 0
    for _ in range(runs):
        table = of(without_pairs(rng, gain=0.003))
        truth = -0.003 if table.level[1] == POST else 0.003
        held += table.d_low[1] <= truth <= table.d_high[1]
    print(f"intervals of the model that hold the truth: {held / runs:.3f} (0.95 promised)")
    assert held / runs == pytest.approx(0.95, abs=2 * sqrt(0.05 * 0.95 / runs))


def test_where_the_truth_is_a_tie_a_difference_is_seldom_declared() -> None:
    rng, runs = np.random.default_rng(11), 150
    tables = (of(simulated(rng, (0, 0, 0), 10), axes=("layout", "depths")) for _ in range(runs))
    wrong = sum("worse" in set(table.verdict) for table in tables)
    print(f"differences found where there is none: {wrong / runs:.3f} (0.05 allowed)")
    assert wrong / runs <= 0.05 + 2 * sqrt(0.05 * 0.95 / runs)


def test_a_tie_is_declared_when_the_truth_is_a_tie_and_the_data_suffice() -> None:
    rng = np.random.default_rng(12)
    verdicts = [of(simulated(rng, (0, 0), 60, 0.002)).verdict.tolist() for _ in range(20)]
    assert sum(verdict == ["tied", "tied"] for verdict in verdicts) >= 18
    few = [of(simulated(rng, (0, 0), 8, 0.02)).verdict.tolist() for _ in range(20)]
    assert sum(verdict == ["not enough data"] * 2 for verdict in few) >= 18


def test_a_planted_effect_is_found_at_the_power_that_was_promised() -> None:
    # Two layouts, 8 points apart in a hundred; both scatter by 1, so their difference by root 2.
    gain, noise = 0.008, 0.01
    needed = ceil(TTestPower().solve_power(gain / (noise * sqrt(2)), alpha=0.05, power=0.8))
    rng, runs, found = np.random.default_rng(13), 150, 0
    for _ in range(runs):
        level = rng.normal(0.8, 0.05, needed)
        table = of(
            runs_of(
                [POST, PRE],
                needed,
                lambda i, depth: level[depth] + gain * i + rng.normal(0, noise),  # noqa: B023
            ),
            axes=("layout", "depths"),
        )
        found += table.level[0] == PRE and table.verdict[1] == "worse"
    print(f"a planted effect found with {needed} pairs: {found / runs:.3f} (0.80 promised)")
    assert found / runs == pytest.approx(0.8, abs=2 * sqrt(0.8 * 0.2 / runs) + 0.01)


def test_the_interval_of_a_mean_ends_where_an_accuracy_does() -> None:
    trials = runs_of([POST, PRE], 3, lambda i, depth: (1.0, 0.8, 1.0)[depth] - 0.1 * i)
    table = of(trials, axes=("layout",))
    assert table["mean"].tolist() == pytest.approx([14 / 15, 12.5 / 15])
    assert table.high.tolist() == [1.0, 1.0]
    assert table.low[0] == pytest.approx(
        14 / 15 - t.ppf(0.975, 2) * np.std([1, 0.8, 1], ddof=1) / sqrt(3)
    )


# --- fidelity ------------------------------------------------------------------------------------


def test_only_values_at_the_rung_that_all_have_reached_are_compared() -> None:
    trials = [
        record(design_of(layout, "pad", depth), [0.1, 0.2, 0.5 + 0.01 * depth + gain, *rest])
        for layout, gain in ((POST, 0.0), (PRE, 0.1))
        for depth in range(1, 8)
        for rest in [[0.9] * 6 if layout == POST else []]
    ]
    trials = [
        t
        if len(t.curve) == 9
        else record(t.design, [e.validation_score for e in t.curve], state=PRUNED)
        for t in trials
    ]
    table = of(trials)
    assert table.epochs.tolist() == [3, 3]
    assert table.level[0] == PRE
    assert table.difference[1] == pytest.approx(-0.1)
    late = of(trials, epochs=9)
    assert late.level.tolist() == [POST]
    assert of(trials, epochs=1).difference[1] == pytest.approx(0)


def test_those_that_failed_or_were_stopped_are_counted() -> None:
    trials = runs_of([POST, PRE], 7, lambda *_: 0.8)
    full = [record(t.design, [0.8 + t.design.depths[0] / 100] * 3) for t in trials]
    failed = record(design_of(PRE, "pad", 20), [0.1], state=FAIL, reason="the loss became nan")
    stopped = record(design_of(POST, "pad", 21), [0.1], state=PRUNED)
    running = record(design_of(POST, "pad", 22), [], state=RUNNING)
    table = of([*full, failed, running])
    assert table.epochs[0] == 3
    assert row_of(table, PRE)[5:9] != row_of(table, POST)[5:9]
    assert (row_of(table, PRE).failed, row_of(table, PRE).stopped) == (1, 0)
    assert (row_of(table, POST).failed, row_of(table, POST).stopped) == (0, 1)
    assert of([*full, failed, stopped]).epochs[0] == 1
    higher = of([*full, failed, stopped], epochs=3)
    assert (row_of(higher, POST).n, row_of(higher, POST).stopped) == (7, 1)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"epochs": 2}, "epochs: 2 is not one of 1, 3, 9"),
        ({"axis": "layuot"}, r"axis: 'layuot' is not one of layout, .*did you mean 'layout'"),
        ({"controlled": "param"}, r"controlled: 'param' is not one of params, .*'params'"),
        ({"margin": 0.0}, "margin: 0.0 is not above 0"),
    ],
)
def test_what_is_unknown_is_refused_in_one_line(how: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=f"^{message}"):
        of([], **({"axis": None} | how))


# --- axes ----------------------------------------------------------------------------------------


def test_no_records_give_an_empty_table_with_all_columns() -> None:
    table = effects(seen_in([]))
    assert table.empty
    assert table.columns.tolist() == list(COLUMNS)
    assert answers(table, ACCURACY) == []


def test_an_axis_with_one_level_says_so() -> None:
    table = of(runs_of([POST], 8, lambda *_: 0.8), "layout")
    assert table.verdict.tolist() == ["not enough data"]
    assert answers(table, ACCURACY) == [
        f"layout: only '{POST}' was trained; there is nothing to compare."
    ]


def test_a_continuum_is_cut_into_thirds() -> None:
    rng = np.random.default_rng(14)
    trials = []
    for _ in range(90):
        rate, depth = float(rng.uniform(0.01, 1.0)), int(rng.integers(1, 4))
        value = 0.7 + 0.1 * rate + 0.03 * depth + rng.normal(0, 0.002)
        trials.append(record(design_of(POST, "pad", depth), value, recipe=recipe_of(rate)))
    table = of(trials, "recipe.peak_lr")
    assert table.n.tolist() == [30, 30, 30]
    assert table.verdict.tolist() == ["best", "worse", "worse"]
    lowest = [float(level.split(" to ")[0]) for level in table.level]
    assert lowest == sorted(lowest, reverse=True)
    assert table.difference[2] == pytest.approx(-0.066, abs=0.01)  # two thirds of the range


def test_slots_and_stages_are_axes_and_so_are_their_fields() -> None:
    rng = np.random.default_rng(15)
    axes = ("layout.before", "layout.before_join", "shortcut[0]", "shortcut[1]", "depths")
    trials = [
        record(
            Design(
                layout=f"{before}conv3-bn-relu-conv3{after} +",
                shortcut=("proj-all" if first else "pad", second),
                depths=(depth, depth),
                widths=(4, 8),
            ),
            0.8 + 0.05 * bool(before) + 0.03 * (second == "proj") + rng.normal(0, 0.002),
        )
        for before in ("", "bn-relu-")
        for after in ("", "-bn")
        for first in (False, True)
        for second in ("pad", "proj")
        for depth in (1, 2)
    ]
    table = effects(seen_in(trials, axes))
    assert table.axis.unique().tolist() == list(axes)
    best = table[table.verdict == "best"].set_index("axis").level
    assert best["layout.before"] == "bn-relu"
    assert best["shortcut[1]"] == "proj"
    assert row_of(table[table.axis == "shortcut[1]"], "pad").pairs == 16
    assert "layout.before: bn-relu beats nothing by" in answers(table, ACCURACY)[0]
    fields = effects(seen_in(trials, axes), "layout")
    assert len(fields) == 4
    assert fields.pairs.tolist()[1:] == [8, 8, 8]


# --- equal cost ----------------------------------------------------------------------------------


def grown(rng: np.random.Generator) -> list[Trial]:
    """PRE seems better by 3 points, and is but the larger: the accuracy is that of the size."""
    trials = []
    for i, layout in enumerate((POST, PRE)):
        for depth in range(1, 13):
            params = int(1000 * depth * (1 + i))
            value = 0.6 + 0.045 * np.log(params / 1000) + rng.normal(0, 0.001)
            trials.append(record(design_of(layout, "pad", depth), value, params=params))
    return trials


def test_at_equal_cost_what_size_alone_explains_is_gone() -> None:
    trials = grown(np.random.default_rng(16))
    free = of(trials)
    assert free.verdict.tolist() == ["best", "worse"]
    assert free.difference[1] == pytest.approx(-0.045 * np.log(2), abs=0.002)
    equal = of(trials, controlled="params")
    assert equal.verdict.tolist() == ["tied", "tied"]
    assert equal.method[1] == "pairs"
    assert 6 <= equal.pairs[1] < 12
    assert abs(equal.difference[1]) < 0.002


def test_at_equal_cost_the_model_has_the_logarithm_of_the_cost() -> None:
    # Costs that never meet: no pairs.
    trials = [
        record(t.design, t.curve[0].validation_score, params=t.params + 400 * (t.params < 3000))
        for t in grown(np.random.default_rng(17))
        if (t.design.depths[0] % 3 == 0) == (t.design.layout == PRE)
    ]
    data = frame_of(trials).assign(cost=[np.log(trial.params) for trial in trials])
    fit = smf.ols("y ~ layout + cost", data).fit()
    row = of(trials, controlled="params").iloc[1]
    assert row.method == "model"
    assert abs(row.difference) == pytest.approx(abs(fit.params.iloc[1]))


def test_what_has_no_such_cost_is_left_out() -> None:
    trials = runs_of([POST, PRE], 8, lambda i, depth: 0.8 + 0.01 * i)
    assert of(trials, controlled="latency").empty


# --- interactions --------------------------------------------------------------------------------


def crossed(rng: np.random.Generator, together: float = 0.0) -> list[Trial]:
    return [
        record(
            design_of(layout, shortcut, depth),
            0.7 + 0.02 * i + 0.03 * j + 0.01 * depth + together * i * j + rng.normal(0, 0.01),
        )
        for i, layout in enumerate((POST, PRE))
        for j, shortcut in enumerate(SHORTCUTS)
        for depth in range(1, 7)
    ]


def factorial(
    rng: np.random.Generator, seeds: int, together: float = 0.0, noise: float = 0.01
) -> list[Trial]:
    """One design a combination, with several seeds that move all designs alike."""
    moves = rng.normal(0, 0.02, seeds)
    return [
        record(
            design_of(layout, shortcut, 1),
            0.7 + 0.02 * i + 0.03 * j + together * i * j + moves[seed] + rng.normal(0, noise),
            seed,
        )
        for i, layout in enumerate((POST, PRE))
        for j, shortcut in enumerate(SHORTCUTS)
        for seed in range(seeds)
    ]


# --- rounding ------------------------------------------------------------------------------------


def test_seeds_that_agree_to_the_last_image_do_not_make_a_difference_certain() -> None:
    # Of 100 images each design has the same number right with all seeds: 80 and 81.
    trials = runs_of([POST, PRE], 1, lambda i, depth: 0.80 + 0.01 * i, seeds=3)
    (best, other) = effects(
        observe(trials, RUNGS, Scale(ACCURACY, 100), AXES), "layout"
    ).itertuples()
    assert (best.verdict, other.verdict, other.method) == ("not enough data",) * 2 + ("seeds",)
    # The error of a difference of two rounded numbers, and Student's for three pairs.
    half = t.ppf(0.975, 2) * sqrt(2 / 12 / 100**2 / 3)
    assert (other.d_low, other.d_high) == pytest.approx((-0.01 - half, -0.01 + half))


def test_the_floor_of_rounding_falls_with_the_seeds_of_a_mean() -> None:
    # Six pairs of designs, all apart by one image of 100, with four seeds each.
    trials = runs_of([POST, PRE], 6, lambda i, depth: 0.8 + 0.01 * i, seeds=4)
    row = effects(observe(trials, RUNGS, Scale(ACCURACY, 100), AXES), "layout").iloc[1]
    half = t.ppf(0.975, 5) * sqrt(2 / 12 / 100**2 / 4 / 6)
    assert (row.method, row.pairs) == ("pairs", 6)
    assert (row.d_low, row.d_high) == pytest.approx((-0.01 - half, -0.01 + half))


def test_with_fine_enough_steps_the_same_difference_is_seen() -> None:
    trials = runs_of([POST, PRE], 1, lambda i, depth: 0.80 + 0.01 * i, seeds=3)
    table = effects(observe(trials, RUNGS, Scale(ACCURACY, 100_000), AXES), "layout")
    assert table.verdict.tolist() == ["best", "worse"]


# --- in words ------------------------------------------------------------------------------------


def test_the_answer_names_the_difference_its_interval_and_the_pairs() -> None:
    rng = np.random.default_rng(21)
    table = of(simulated(rng, (0.03, 0.0), 24, 0.002))
    (text,) = answers(table, ACCURACY)
    row = table.iloc[1]
    assert text == (
        f"layout: '{POST}' beats '{PRE}' by {-100 * row.difference:.1f} points"
        f" ({-100 * row.d_high:.1f} to {-100 * row.d_low:.1f}; 24 pairs)."
    )
