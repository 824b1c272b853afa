"""Answers from draws of a posterior: limits that are known, other implementations, coverage."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel as Other
from statsmodels.stats.anova import anova_lm

from skipsearch.metric import ACCURACY, Scale
from skipsearch.surrogate.answers import (
    BEST,
    OPEN,
    TIED,
    WORSE,
    chance_of_design,
    chance_of_level,
    further,
    interval,
    intervals_together,
    judge,
    level_bests,
    level_means,
    sobol_shares,
)
from skipsearch.surrogate.belief import Belief
from skipsearch.surrogate.encoding import Array, Axis, Encoding
from skipsearch.surrogate.kernel import CONSTANT, Kernel, Scales
from skipsearch.surrogate.observations import Observations
from skipsearch.surrogate.process import Posterior
from skipsearch.surrogate.warp import Warp

GRID = np.array(list(product(range(3), range(4), range(2))))
CODES = {name: GRID[:, i] for i, name in enumerate("abc")}
AXES = tuple(Axis(name, tuple(range(n))) for name, n in zip("abc", (3, 4, 2), strict=True))
SCALES = Scales(1.0, 0.4, 0.05, 0.1, (1.0, 1.0, 1.0))
seeds = st.integers(0, 2**32 - 1)


def test_shares_of_an_additive_function_are_those_of_its_parts() -> None:
    parts = [np.array([0.0, 1.0, 3.0]), np.array([0.0, 0.0, 2.0, 1.0]), np.array([0.0, 4.0])]
    values = sum(part[GRID[:, i]] for i, part in enumerate(parts))
    variances = np.array([part.var() for part in parts])
    shares = sobol_shares(np.array([values, 2 * values + 7]), CODES)
    for name, expected in zip("abc", variances / variances.sum(), strict=True):
        assert shares.main[name] == pytest.approx([expected] * 2)
    assert np.abs(list(shares.pairs.values())).max() < 1e-12


def test_a_function_of_a_product_alone_has_the_share_of_its_pair() -> None:
    signs = np.array([-1.0, 0.0, 1.0])[GRID[:, 0]] * np.array([-1.0, 1.0])[GRID[:, 2]]
    shares = sobol_shares(signs[None], CODES)
    assert shares.pairs["a", "c"] == pytest.approx([1.0])
    assert [shares.main[name][0] for name in "abc"] == pytest.approx([0, 0, 0], abs=1e-12)


@given(seeds)
def test_shares_of_a_balanced_space_are_the_sums_of_squares_of_an_analysis_of_variance(
    seed: int,
) -> None:
    values = np.random.default_rng(seed).normal(size=len(GRID))
    table = pd.DataFrame({**CODES, "y": values})
    theirs = anova_lm(smf.ols("y ~ (C(a) + C(b) + C(c)) ** 2", table).fit()).sum_sq
    total = ((values - values.mean()) ** 2).sum()
    shares = sobol_shares(values[None], CODES)
    for name, share in shares.main.items():
        assert share[0] == pytest.approx(theirs[f"C({name})"] / total, abs=1e-9)
    for (a, b), share in shares.pairs.items():
        assert share[0] == pytest.approx(theirs[f"C({a}):C({b})"] / total, abs=1e-9)


def test_an_axis_without_effect_on_some_designs_explains_the_others_alone() -> None:
    # No long skip, or one of two kinds, added or concatenated; without one the merge says nothing.
    links, merge = np.array([0, 1, 1, 2, 2]), np.array([-1, 0, 1, 0, 1])
    by_links = sobol_shares(np.array([[0.0, 5, 5, 6, 6]]), {"links": links, "merge": merge})
    assert by_links.main["links"] == pytest.approx([1.0])
    assert by_links.main["merge"] == pytest.approx([0.0])
    assert by_links.pairs["links", "merge"] == pytest.approx([0.0])
    by_both = sobol_shares(np.array([[5.0, 4, 6, 4, 6]]), {"links": links, "merge": merge})
    assert by_both.main["links"] == pytest.approx([0.0])
    assert by_both.main["merge"] == pytest.approx([1.0])
    crossed = sobol_shares(np.array([[5.0, 4, 6, 6, 4]]), {"links": links, "merge": merge})
    assert crossed.pairs["links", "merge"] == pytest.approx([1.0])


def test_nothing_varies_where_all_designs_are_equal() -> None:
    shares = sobol_shares(np.ones((2, len(GRID))), CODES)
    assert not np.any([*shares.main.values(), *shares.pairs.values()])


@given(seeds)
def test_chances_sum_to_one_and_bests_are_above_means(seed: int) -> None:
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, 4, (50, len(GRID))) / 4  # with ties
    chances = chance_of_design(draws)
    assert chances.sum() == pytest.approx(1)
    for codes in CODES.values():
        assert chance_of_level(chances, codes).sum() == pytest.approx(1)
        trained = rng.random(len(GRID)) < 0.3
        least, most = level_bests(draws, codes, trained, 0.0)
        assert (least <= most).all()
        assert (level_means(draws, codes) <= most).all()
        assert most.max(axis=1) == pytest.approx(draws.max(axis=1))


def test_an_axis_without_effect_on_the_best_design_has_no_chance_of_it() -> None:
    draws = np.array([[0.1, 0.2, 0.9], [0.3, 0.2, 0.8]])
    codes = np.array([0, 1, -1])
    assert chance_of_level(chance_of_design(draws), codes).tolist() == [0, 0]
    assert level_means(draws, codes).tolist() == [[0.1, 0.2], [0.3, 0.2]]


VERDICTS = {
    "certain": ([0.9, 0.5, 0.7], 1e-4, [BEST, WORSE, WORSE]),
    "equal": ([0.9, 0.9], 1e-4, [TIED, TIED]),
    "near": ([0.9, 0.897, 0.5], 1e-4, [BEST, WORSE, WORSE]),
    "unknown": ([0.9, 0.89], 0.1, [OPEN, OPEN]),
    "alone": ([0.9], 0.1, [BEST]),
    "partly": ([0.9, 0.5, 0.89], 0.02, [OPEN, WORSE, OPEN]),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_levels_are_judged(case: str) -> None:
    means, spread, words = VERDICTS[case]
    draws = np.random.default_rng(0).normal(means, spread, (2_000, len(means)))
    found = judge(draws, 0.005)
    assert list(found.words) == words or (case == "equal" and set(found.words) == {TIED})
    assert found.settled == (OPEN not in words)
    assert found.confidence >= 0.975


def test_a_level_whose_best_was_not_trained_is_judged_by_all_that_it_may_be() -> None:
    most = np.random.default_rng(0).normal([0.9, 0.9, 0.5], 1e-4, (500, 3))
    least = most.copy()
    least[:, 1] = 0.1  # it may be tied, and may be as bad as anything
    found = judge(most, 0.005, least=least)
    assert (found.reference, found.words[2]) == (0, WORSE)
    assert OPEN in judge(most, 0.005, least=least).words
    assert OPEN not in judge(most, 0.005).words


def test_statements_that_are_sure_one_by_one_need_not_be_so_together() -> None:
    rng = np.random.default_rng(1)
    means = np.array([0.9, *[0.8] * 9])
    draws = rng.normal(means, 0.035, (4_000, 10))
    single = (draws[:, 1:] < draws[:, :1]).mean(axis=0)
    assert (single > 0.97).all()
    assert OPEN in judge(draws, 0.005).words


@given(seeds, st.integers(1, 6))
def test_intervals_together_hold_all_at_once(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    draws = rng.normal(size=(1_000, count)) @ rng.normal(size=(count, count))
    low, high = intervals_together(draws)
    inside = ((draws >= low) & (draws <= high)).all(axis=1).mean()
    assert 0.945 <= inside <= 0.975
    alone_low, alone_high = interval(draws)
    assert (low <= alone_low + 0.2).all()
    assert (high >= alone_high - 0.2).all()


def test_a_constant_takes_no_part_in_intervals_together() -> None:
    draws = np.column_stack([np.zeros(1_000), np.random.default_rng(0).normal(size=1_000)])
    low, high = intervals_together(draws)
    assert (low[0], high[0]) == (0, 0)
    assert (low[1], high[1]) == pytest.approx(tuple(each[1] for each in interval(draws)), abs=0.1)


def test_what_is_settled_needs_no_training_and_noise_needs_more() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal([0.0, 0.0], 1.0, (300, 2))
    assert further(values + np.array([9, 0]), values + np.array([9, 0]), 0.1, 0.1, rng) == 0
    few = further(values, values, 0.01, 0.5, rng)
    many = further(values, values, 3.0, 0.5, rng)
    assert few is not None
    assert few <= 6
    assert many is None or many > few
    # Two equals within no margin: no number of trainings tells them apart.
    equal = values[:, :1] + rng.normal(0, 1e-6, (300, 2))
    assert further(equal, equal, 1.0, 1e-9, rng, most=20) is None


# --- the model -----------------------------------------------------------------------------------


class _Ours(Other):
    """The kernel of the space as scikit-learn wants one."""

    def __call__(self, x: Array, y: Array | None = None, eval_gradient: bool = False) -> Array:
        y_ = x if y is None else y
        same = (x[:, None] == y_).all(axis=2)
        return np.asarray(Kernel(AXES).smooth(SCALES, x, y_) + SCALES.own * same)

    def __init__(self) -> None:
        """Have no parameters."""

    def diag(self, x: Array) -> Array:
        return np.diag(self(x))

    def is_stationary(self) -> bool:
        return False


def test_the_posterior_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    points = GRID[rng.choice(len(GRID), 12, replace=False)].astype(float)
    values, rows = rng.normal(size=12), GRID.astype(float)
    seen = Observations.of(points, values, np.zeros(12))
    ours = Posterior.of(Kernel(AXES), SCALES, seen)
    theirs = GaussianProcessRegressor(_Ours(), alpha=SCALES.noise, optimizer=None)
    mean, covariance = theirs.fit(points, values).predict(rows, return_cov=True)
    assert ours.mean(rows) == pytest.approx(mean, abs=1e-6)
    assert ours.covariance(rows) == pytest.approx(covariance, abs=1e-6)


def drawn_world(rng: np.random.Generator) -> Array:
    """Return accuracies of all designs of a space as the model expects them."""
    covariance = Kernel(AXES).smooth(SCALES, GRID.astype(float), GRID.astype(float)) - CONSTANT
    covariance += SCALES.own * np.eye(len(GRID))
    return rng.multivariate_normal(np.zeros(len(GRID)), covariance)


def test_draws_do_not_depend_on_the_choice_of_eigenvectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their signs depend on the BLAS, and with equal eigenvalues their directions do."""
    rows, eigh = GRID.astype(float), np.linalg.eigh

    def draws(signs: float, angle: float) -> np.ndarray:
        def chosen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            values, vectors = eigh(matrix)
            values[-2] = values[-1]  # a pair that may be rotated
            turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            vectors[:, -2:] = vectors[:, -2:] @ turn
            return values, vectors * np.where(np.arange(len(values)) % 2, signs, 1.0)

        monkeypatch.setattr(np.linalg, "eigh", chosen)
        rng = np.random.default_rng(7)
        seen = rng.normal(size=len(rows))
        warp, noise = Warp(2.0, 0.5, Scale(ACCURACY, 10**6)), np.full(len(rows), 1e-4)
        belief = Belief.of(Encoding(AXES), warp, rows, seen, noise, rng)
        return belief.values(rows, 50, rng)

    expected = draws(1.0, 0.0)
    assert draws(-1.0, 0.0) == pytest.approx(expected, abs=1e-8)
    assert draws(1.0, 0.7) == pytest.approx(expected, abs=1e-8)


def test_intervals_of_means_and_bests_hold_the_truth_of_worlds_that_are_drawn() -> None:
    rng = np.random.default_rng(4)
    warp, encoding, rows = (
        Warp(2.0, 0.5, Scale(ACCURACY, 10**6)),
        Encoding(AXES),
        GRID.astype(float),
    )
    held, best_held, chances, hits = [], [], [], []
    for _ in range(60):
        values = drawn_world(rng)
        chosen = rng.choice(len(GRID), 14, replace=False)
        seen = values[chosen] + rng.normal(0, SCALES.noise**0.5, 14)
        belief = Belief.of(encoding, warp, rows[chosen], seen, np.full(14, 1e-4), rng)
        draws = belief.scores(belief.values(rows, 400, rng))
        truth = warp.scores(values)
        trained = np.isin(np.arange(len(GRID)), chosen)
        for codes in CODES.values():
            low, high = interval(level_means(draws, codes))
            expected = level_means(truth[None], codes)[0]
            held += ((low <= expected) & (expected <= high)).tolist()
            least, most = level_bests(draws, codes, trained, 0.0)
            best = level_bests(truth[None], codes, trained, 0.0)[1][0]
            best_held += ((interval(least)[0] <= best) & (best <= interval(most)[1])).tolist()
            chances += chance_of_level(chance_of_design(draws), codes).tolist()
            hits += (np.arange(codes.max() + 1) == codes[truth.argmax()]).tolist()
    assert 0.90 <= np.mean(held) <= 0.99
    assert np.mean(best_held) >= 0.93
    said, true = np.array(chances), np.array(hits)
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        inside = (said >= low) & (said <= high)
        assert said[inside].mean() == pytest.approx(true[inside].mean(), abs=0.1)


def test_the_same_trainings_give_the_same_draws_and_no_accuracy_is_below_guessing() -> None:
    warp, encoding, rows = Warp(0.0, 1.0, Scale(ACCURACY, 100)), Encoding(AXES), GRID.astype(float)
    values = np.linspace(-3, 2, 8)

    def draws() -> Array:
        rng = np.random.default_rng(5)
        belief = Belief.of(encoding, warp, rows[:8], values, np.full(8, 0.01), rng, least=0.1)
        return belief.scores(belief.values(rows, 100, rng))

    first = draws()
    assert (first == draws()).all()
    assert first.min() >= 0.1
    assert first.max() <= 1
