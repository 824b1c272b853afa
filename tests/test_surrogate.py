"""The surrogate: encoding, transform, kernel, posterior and acquisition, against plain formulas."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from skipsearch.metric import ACCURACY, Scale
from skipsearch.space import Space
from skipsearch.surrogate import kernel, process
from skipsearch.surrogate.acquisition import expected_improvement, front_gain
from skipsearch.surrogate.curves import LEAST, Curves
from skipsearch.surrogate.encoding import Axis, Encoding
from skipsearch.surrogate.gram import Gram
from skipsearch.surrogate.kernel import CONSTANT, Kernel, Scales
from skipsearch.surrogate.observations import Observations
from skipsearch.surrogate.process import Posterior, fit
from skipsearch.surrogate.scales import ScaleDensity, fit_scales
from skipsearch.surrogate.warp import Warp, half_ranks

SPACE = """
name: mixed
base: {widths: [8, 16], stem_width: 8}
axes:
  layout:
    - conv3-bn-relu-conv3-bn-relu
    - conv3-bn-relu-conv3-bn + relu
    - bn-relu-conv3-bn-relu-conv3 +
  merge: [add, cat]
  shortcut: [pad, proj, omit]
  depths: [[3, 3], [1, 1], [2, 2]]
  drop_path: {low: 0.0, high: 0.2, step: 0.1}
  recipe.peak_lr: {low: 0.01, high: 1.0, log: true}
"""
AXES = (Axis("a", ("x", "y", "z")), Axis("b", (1, 2, 4), numeric=True), Axis("c", (0, 1)))
SCALES = Scales(0.6, 0.4, 0.1, 0.2, (1.0, 2.0, 0.5))


def grid(axes: tuple[Axis, ...] = AXES) -> np.ndarray:
    return np.stack(np.meshgrid(*(range(len(a.levels)) for a in axes), indexing="ij"), -1).reshape(
        -1, len(axes)
    ) * np.ones(1)


# --- encoding ------------------------------------------------------------------------------------


def test_each_parameter_is_a_column_and_inactive_is_a_level_of_its_own() -> None:
    space = Space.from_yaml(SPACE)
    encoding = Encoding.of(space)
    assert encoding.names == tuple(space.parameters)
    axes = dict(zip(encoding.names, encoding.axes, strict=True))
    assert axes["depths"].levels == ((1, 1), (2, 2), (3, 3))
    assert axes["depths"].numeric
    assert not axes["layout"].numeric
    # The plain layout has no join, and cat carries the input as it is.
    assert {n for n, axis in axes.items() if axis.conditional} == {"merge", "shortcut", "drop_path"}
    plain = {
        "layout": "conv3-bn-relu-conv3-bn-relu",
        "depths": (2, 2),
        "recipe.peak_lr": 0.1,
    }
    (row,) = encoding.rows([plain])
    assert row[encoding.names.index("depths")] == 1
    assert row[encoding.names.index("shortcut")] == axes["shortcut"].inactive == 3
    assert row[encoding.names.index("recipe.peak_lr")] == pytest.approx(4)  # the middle of 9 knots


@given(st.integers(0, 2**32))
def test_a_drawn_candidate_has_a_row_within_its_axes(seed: int) -> None:
    encoding = Encoding.of(SPACE_READ)
    candidate = SPACE_READ.draw(random.Random(seed))
    (row,) = encoding.rows([candidate.values])
    for position, axis in zip(row, encoding.axes, strict=True):
        assert 0 <= position <= len(axis.levels) - 1 or (
            position == axis.inactive and axis.conditional
        )


SPACE_READ = Space.from_yaml(SPACE)


@pytest.mark.parametrize("path", sorted(Path("search_spaces").glob("*.yaml")), ids=str)
def test_every_ready_space_has_an_encoding(path: Path) -> None:
    space = Space.load(path)
    encoding = Encoding.of(space)
    drawn = [space.draw(random.Random(seed)) for seed in range(20)]
    rows = encoding.rows(candidate.values for candidate in drawn)
    used = {(n, c) for n, axis in enumerate(encoding.axes) for c in [axis.conditional] if not c}
    for n, _ in used:
        assert (rows[:, n] < encoding.axes[n].inactive).all()


# --- warp ----------------------------------------------------------------------------------------

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(SHARES, st.integers(1, 100_000), SHARES)
def test_values_return_to_their_accuracies_within_the_scale(
    seen: list[float], images: int, others: list[float]
) -> None:
    warp = Warp.of(seen, Scale(ACCURACY, images))
    values = warp.values(others)
    back = warp.scores(values)
    # What was put in to keep 0 and 1 finite stays: half an image on either side.
    expected = (np.array(others) * images + 0.5) / (images + 1)
    assert back == pytest.approx(expected, abs=1e-6)
    order = np.argsort(others, kind="stable")
    assert (np.diff(values[order]) >= 0).all()
    assert ((warp.scores([-1e9, 1e9]) >= 0) & (warp.scores([-1e9, 1e9]) <= 1)).all()
    assert (warp.noise(others) > 0).all()


def test_noise_is_that_of_a_binomial_share() -> None:
    images, truth = 500, 0.9
    warp = Warp.of([0.85, 0.88, 0.9, 0.92], Scale(ACCURACY, images))
    draws = np.random.default_rng(0).binomial(images, truth, 20_000) / images
    assert warp.noise([truth])[0] == pytest.approx(warp.values(draws).var(), rel=0.05)


def test_a_collapsed_design_does_not_stretch_the_scale() -> None:
    good = [0.90, 0.905, 0.91, 0.915, 0.92]
    warp = Warp.of([*good, 0.1], Scale(ACCURACY, 1000))
    assert warp.spread == pytest.approx(Warp.of([*good, 0.8], Scale(ACCURACY, 1000)).spread)
    assert warp.values([0.1])[0] > -8


def test_only_the_order_counts_in_the_lower_half() -> None:
    assert half_ranks([0.5, 0.6, 0.9, 0.92, 0.95], Scale(ACCURACY, 1000)) == pytest.approx(
        half_ranks([0.1, 0.8, 0.9, 0.92, 0.95], Scale(ACCURACY, 1000))
    )


# --- kernel --------------------------------------------------------------------------------------

CONDITIONAL = (*AXES, Axis("d", (0.0, 0.5, 1.0), numeric=True, conditional=True))


@pytest.mark.parametrize("axes", [AXES, CONDITIONAL, AXES[:1]])
def test_features_are_the_kernel_in_another_notation(axes: tuple[Axis, ...]) -> None:
    kernel = Kernel(axes)
    rng = np.random.default_rng(0)
    tops = [len(axis.levels) - (not axis.conditional) for axis in axes]
    x = np.array([[rng.uniform(0, top) for top in tops] for _ in range(30)])
    x[:, 0] = x[:, 0].round()
    scales = Scales(0.6, 0.4, 0.1, 0.2, (1.0, 2.0, 0.5, 1.5)[: len(axes)])
    features = kernel.features(x) * kernel.weights(scales)
    assert features.shape[1] == kernel.features_count
    smooth = kernel.smooth(scales, x, x)
    assert features @ features.T == pytest.approx(smooth, abs=1e-9)
    assert np.diag(smooth) == pytest.approx(kernel.smooth_diagonal(scales, x), abs=1e-9)
    r = np.array(scales.relevance)[:, None, None]
    each = r * kernel.correlations(x, x)
    count = len(axes)
    expected = CONSTANT + scales.main * each.mean(0)
    if count > 1:
        pairs = sum(each[i] * each[j] for i in range(count) for j in range(i))
        expected += scales.pair * pairs / (count * (count - 1) / 2)
    assert smooth == pytest.approx(expected, abs=1e-9)


def test_no_main_effect_holds_the_mean_and_variances_are_as_named() -> None:
    kernel = Kernel(AXES)
    x = grid()
    table = kernel.correlations(x, x)
    assert table.mean(axis=(1, 2)) == pytest.approx(0, abs=1e-12)
    assert np.einsum("ann->an", table).mean(axis=1) == pytest.approx(1)


# --- posterior -----------------------------------------------------------------------------------


def trained(n: int = 25, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = grid()[rng.integers(0, 18, n)]  # several seeds of some designs, none of others
    return x, rng.standard_normal(n) + (x[:, 0] == 1), rng.uniform(0.05, 0.1, n)


def textbook(
    x: np.ndarray, y: np.ndarray, noise: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rasmussen & Williams 2006, equations 2.23 and 2.24, one row for each training."""
    kernel = Kernel(AXES)

    def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        same = (a[:, None] == b).all(-1)
        return kernel.smooth(SCALES, a, b) + SCALES.own * same

    inverse = np.linalg.inv(k(x, x) + np.diag(noise))
    return k(at, x) @ inverse @ y, k(at, at) - k(at, x) @ inverse @ k(x, at)


@pytest.mark.parametrize("most_features", [1_000, 0], ids=["features", "designs"])
def test_the_posterior_is_the_textbook_one(
    most_features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MOST_FEATURES", most_features)
    x, y, _ = trained()
    floors = np.full(len(x), 0.07)
    posterior = fit(Encoding(AXES), x, y, floors, SCALES)
    mean, covariance = textbook(x, y, floors + SCALES.noise, grid())
    assert posterior.mean(grid()) == pytest.approx(mean, abs=1e-5)
    assert posterior.variance(grid()) == pytest.approx(np.diag(covariance), abs=1e-5)
    assert posterior.covariance(grid()) == pytest.approx(covariance, abs=1e-5)
    draws = posterior.sample(grid(), 20_000, np.random.default_rng(0))
    assert draws.mean(axis=0) == pytest.approx(mean, abs=0.03)
    assert np.cov(draws.T) == pytest.approx(covariance, abs=0.03)


@pytest.mark.parametrize("most_features", [1_000, 0], ids=["features", "designs"])
def test_pending_trainings_keep_every_expectation_and_are_no_longer_uncertain(
    most_features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MOST_FEATURES", most_features)
    x, y, floors = trained()
    posterior = fit(Encoding(AXES), x, y, floors, SCALES)
    pending = grid()[[0, 5, 0]]
    believed = posterior.with_pending(pending)
    assert believed.mean(grid()) == pytest.approx(posterior.mean(grid()), abs=1e-5)
    assert (believed.variance(grid()) <= posterior.variance(grid()) + 1e-6).all()
    assert (believed.variance(pending) < posterior.variance(pending)).all()


def large(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Trainings of designs of a larger space, and other designs."""
    rng = np.random.default_rng(seed)
    x = np.unique(rng.integers(0, 6, (2 * n, len(LARGE))).astype(float), axis=0)
    x = rng.permutation(x)
    y = np.sin(x @ rng.standard_normal(len(LARGE))) + 0.3 * rng.standard_normal(len(x))
    return x[:n], y[:n], rng.uniform(0.05, 0.1, n), x[n:]


LARGE = tuple(Axis(name, tuple(range(6)), numeric=name in "ab") for name in "abcd")
LARGE_SCALES = Scales(0.6, 0.4, 0.1, 0.2, (1.0, 2.0, 0.5, 0.5))


def test_many_designs_have_almost_the_exact_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, floors, others = large(400)
    monkeypatch.setattr(process, "MOST_FEATURES", 0)
    exact = fit(Encoding(LARGE), x, y, floors, LARGE_SCALES)
    monkeypatch.setattr(process, "EXACT", 10)
    rounded = fit(Encoding(LARGE), x, y, floors, LARGE_SCALES)
    assert type(rounded) is not type(exact)
    off = rounded.mean(others) - exact.mean(others)
    assert np.abs(off).max() < 0.02 * exact.mean(others).std()
    assert rounded.variance(others) == pytest.approx(exact.variance(others), rel=0.025)


def test_the_largest_pairs_of_axes_are_residuals_if_there_are_too_many_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    axes = (Axis("many", tuple("abcdefgh")), Axis("a", (0, 1)), Axis("b", tuple("abcd")))
    scales = Scales(0.6, 0.4, 0.1, 0.2, (1.0, 2.0, 0.5))
    whole = Kernel(axes)
    monkeypatch.setattr(kernel, "FEATURES_KEPT", whole.features_count - 1)
    some = Kernel(axes)
    assert some.features_count == whole.features_count
    x = grid(axes)
    features = some.features(x)
    assert features.shape[1] == whole.features_count - 7 * 3  # many x b
    values = np.random.default_rng(0).standard_normal((len(x), features.shape[1]))
    assert some.feature_sums(x, values[:, 0]) == pytest.approx(features.T @ values[:, 0])
    assert some.combined(x, values[0]) == pytest.approx(features @ values[0])
    weighted = features * some.weights(scales)
    variances = (weighted**2).sum(1).mean() + some.variance_without_features(scales)
    assert variances == pytest.approx(whole.smooth_diagonal(scales, x).mean())
    assert whole.variance_without_features(scales) == 0


@given(
    st.lists(
        st.dictionaries(st.integers(0, 17), st.sampled_from((0.5, 1.0, 3.0)), min_size=1),
        min_size=1,
        max_size=6,
    )
)
def test_kept_sums_are_those_of_the_given_designs(states: list[dict[int, float]]) -> None:
    kernel = Kernel(AXES)
    kept = Gram(kernel)
    for weights in states:
        points, values = grid()[list(weights)], np.array(list(weights.values()))
        features = kernel.features(points)
        expected = (features * values[:, None]).T @ features
        assert kept.of(points, values) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_posterior_with_kept_sums_is_the_one_from_scratch(data: st.DataObject) -> None:
    """Trainings arrive in any order, are corrected and withdrawn; running ones are believed."""
    kernel = Kernel(LARGE)
    kept = Gram(kernel)
    x, y, floors, others = LARGE_TRAINED
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "EXACT", 10)
        for _ in range(data.draw(st.integers(1, 5))):
            some = data.draw(st.lists(st.integers(0, len(x) - 1), min_size=1, max_size=60))
            factor = data.draw(st.sampled_from((1.0, 1.001, 1.3)))
            seen = Observations.of(x[some], y[some], floors[some] * factor)
            pending = others[: data.draw(st.integers(0, 3))]
            ours = Posterior.of(kernel, LARGE_SCALES, seen, kept).with_pending(pending)
            fresh = Posterior.of(Kernel(LARGE), LARGE_SCALES, seen).with_pending(pending)
            assert ours.mean(others) == pytest.approx(fresh.mean(others), abs=1e-8)
            assert ours.variance(others) == pytest.approx(fresh.variance(others), abs=1e-8)


LARGE_TRAINED = large(100)


def test_the_slope_of_the_likelihood_is_its_slope_and_replicates_are_exact() -> None:
    x, y, _ = trained()
    floors = np.full(len(x), 0.07)
    kernel = Kernel(AXES)
    seen = Observations.of(x, y, floors)
    assert len(seen) < len(x)
    density = ScaleDensity(kernel, seen)

    def likelihood(logs: np.ndarray) -> float:
        return density.likelihood(np.exp(logs))[0]

    logs = np.log([0.6, 0.4, 0.1, 0.2, 1.0, 2.0, 0.5])
    _, slope = density.likelihood(np.exp(logs))
    assert slope * np.exp(logs) == pytest.approx(approx_fprime(logs, likelihood), abs=1e-4)

    def whole(scales: Scales) -> float:
        covariance = kernel.smooth(scales, x, x) + np.diag(floors + scales.noise)
        covariance += scales.own * (x[:, None] == x).all(-1)
        return float(multivariate_normal.logpdf(y, np.zeros(len(x)), covariance))

    other = Scales(0.1, 0.9, 0.3, 0.02, (0.5, 1.0, 1.0))
    logs_of_other = np.log([0.1, 0.9, 0.3, 0.02, 0.5, 1.0, 1.0])
    difference = likelihood(logs) - likelihood(logs_of_other)
    assert difference == pytest.approx(whole(SCALES) - whole(other), abs=1e-6)


def test_scales_are_learned() -> None:
    axes = tuple(Axis(name, (0, 1, 2)) for name in "abcde")
    rng = np.random.default_rng(1)
    x = grid(axes)
    effects = rng.standard_normal(3)
    y = effects[x[:, 0].astype(int)] + 0.1 * rng.standard_normal(len(x))
    scales = fit_scales(Kernel(axes), Observations.of(x, y, np.full(len(x), 1e-4)))
    assert scales.relevance[0] > max(scales.relevance[1:])
    assert scales.pair < scales.main
    assert scales.noise + scales.own < 0.03


def test_equal_values_and_a_single_training_are_no_trouble() -> None:
    encoding = Encoding(AXES)
    for n in (1, 2, 12):
        posterior = fit(encoding, grid()[:n], np.zeros(n), np.full(n, 1e-6))
        assert np.isfinite(posterior.mean(grid())).all()
        assert (posterior.variance(grid()) > 0).all()
    assert isinstance(posterior, Posterior)


# --- acquisition ---------------------------------------------------------------------------------


def test_expected_improvement_is_that_of_draws() -> None:
    mean, deviation = np.array([0.0, 1.0, -2.0, 1.0]), np.array([1.0, 0.5, 0.3, 0.0])
    draws = mean + deviation * np.random.default_rng(0).standard_normal((400_000, 4))
    expected = np.maximum(draws - 0.4, 0).mean(axis=0)
    assert expected_improvement(mean, deviation, 0.4) == pytest.approx(expected, abs=3e-3)


def test_the_gain_of_a_front_is_that_of_draws() -> None:
    rng = np.random.default_rng(0)
    front, front_cost = rng.standard_normal(6), np.array([0.0, 10, 3, 8, 5, 5])
    mean, deviation = rng.standard_normal(5), rng.uniform(0.2, 1, 5)
    cost = np.array([0.0, 2, 5, 9, 10])
    gain = front_gain(mean, deviation, cost, front, front_cost, -3.0)
    assert gain.shape == (5,)

    def area(values: np.ndarray, costs: np.ndarray) -> float:
        places = np.linspace(0, 1.1, 11_001)[:-1] + 0.5e-4
        heights = np.full(len(places), -3.0)
        for value, at in zip(values, costs / 10, strict=True):
            heights[places >= at] = np.maximum(heights[places >= at], value)
        return float(heights.mean() * 1.1)

    before = area(front, front_cost)
    for n in range(5):
        draws = mean[n] + deviation[n] * rng.standard_normal(400)
        each = [area(np.append(front, d), np.append(front_cost, cost[n])) - before for d in draws]
        error = 4 * np.std(each) / 20 + 1e-3
        assert gain[n] == pytest.approx(np.mean(each), abs=error)


# --- curves --------------------------------------------------------------------------------------


def test_what_was_stopped_is_expected_where_equals_have_ended() -> None:
    rng = np.random.default_rng(0)
    final = rng.uniform(-1, 1, 40)  # logits
    early = 0.5 * final - 1 + 0.1 * rng.standard_normal(40)

    def share(logit: float) -> float:
        return float(1 / (1 + np.exp(-logit)))

    curves = [{1: share(a), 9: share(b)} for a, b in zip(early, final, strict=True)]
    learned = Curves(curves, Scale(ACCURACY, 10_000))
    scores, variances = learned.finals([1, 5, 1], [share(-0.8), 0.5, share(0.1)])
    assert scores[[0, 2]] == pytest.approx([share(0.4), share(2.2)], abs=0.03)
    assert 0.01 < variances[0] < 0.1  # 0.2 squared
    assert np.isinf(variances[1])  # an epoch that nobody has shown
    few = Curves(curves[: LEAST - 1], Scale(ACCURACY, 10_000))
    assert np.isinf(few.finals([1], [0.5]).variances).all()
    wider = Curves(curves[:LEAST], Scale(ACCURACY, 10_000)).finals([1], [share(-0.8)])
    assert wider.variances[0] > variances[0]
