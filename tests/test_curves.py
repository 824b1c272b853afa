"""What a stopped training says of its final accuracy, against trainings whose law is known."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from skipsearch.metric import ACCURACY, Scale
from skipsearch.surrogate.curves import LEAST, Curves
from skipsearch.surrogate.warp import Warp

SCALE = Scale(ACCURACY, 1_000_000)  # so many that their own noise is none
MEAN, SPREAD = 2.0, 0.5  # of the logits of the final accuracies


def trainings(count: int, noise: float, seed: int = 0) -> list[dict[int, float]]:
    """Return curves whose logit at epoch 1 is the final one, 1 lower, and normal noise."""
    rng = np.random.default_rng(seed)
    final = MEAN + SPREAD * rng.standard_normal(count)
    early = final - 1 + noise * rng.standard_normal(count)
    return [{1: float(a), 3: float(b)} for a, b in zip(expit(early), expit(final), strict=True)]


class Final(NamedTuple):
    score: float
    variance: float


def final_of(curves: Curves, epoch: int, score: float) -> Final | None:
    """What one training indicates; None for nothing."""
    found = Final(*(float(each[0]) for each in curves.finals([epoch], [score])))
    return found if math.isfinite(found.variance) else None


def test_few_finished_trainings_teach_nothing() -> None:
    curves = trainings(LEAST, noise=0.01)
    assert final_of(Curves(curves[:-1], SCALE, curves), 1, 0.7) is None
    assert final_of(Curves(curves, SCALE), 1, 0.7) is not None
    assert final_of(Curves(curves, SCALE), 2, 0.7) is None  # an epoch that nobody has shown
    assert final_of(Curves([], SCALE), 1, 0.7) is None


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("share", [1.0, 0.3], ids=["all finish", "the best go on"])
def test_a_view_is_that_of_the_law(noise: float, share: float) -> None:
    curves = trainings(4_000, noise)
    bar = np.quantile([curve[1] for curve in curves], 1 - share)
    finished = [curve for curve in curves if curve[1] >= bar]
    others = [{1: curve[1]} for curve in curves if curve[1] < bar]
    view = Curves(finished, SCALE, others)
    for early in (MEAN - 1, MEAN - 1 + SPREAD / 2, MEAN - 1 + SPREAD):
        final = final_of(view, 1, float(expit(early)))
        assert final is not None
        # An early logit is a final one, 1 lower, and noise: no more, no less.
        assert logit(final.score) == pytest.approx(early + 1, abs=0.15)
        assert math.sqrt(final.variance) == pytest.approx(noise, rel=0.2)


def test_an_epoch_that_tells_nothing_counts_for_little() -> None:
    rng = np.random.default_rng(0)
    curves = [{1: float(a), 3: float(b)} for a, b in rng.uniform(0.2, 0.9, (40, 2))]
    final = final_of(Curves(curves, SCALE), 1, 0.9)
    spread = np.std(logit([curve[3] for curve in curves]))
    assert final is None or final.variance > 4 * spread**2


@pytest.mark.parametrize("count", [5, 8, 20])
def test_few_curves_do_not_promise_more_than_they_know(count: int) -> None:
    """What follows for a new training, by Bayes' rule, is off by as much as it is said to be."""
    warp = Warp(MEAN, SPREAD, SCALE)
    off = []
    for seed in range(300):
        *known, new = trainings(count + 1, noise=0.4, seed=seed)
        final = final_of(Curves(known, SCALE), 1, new[1])
        precision, total = 1.0, 0.0  # of final values before anything was seen of this training
        if final is not None:
            precision += SPREAD**2 / final.variance
            total += warp.values([final.score])[0] * SPREAD**2 / final.variance
        off.append((warp.values([new[3]])[0] - total / precision) * math.sqrt(precision))
    assert 0.7 < np.std(off) < 1.15


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=LEAST, max_size=12
    ),
    st.floats(0, 1),
    st.floats(0, 1),
    st.randoms(use_true_random=False),
)
def test_a_final_accuracy_is_possible_and_rises_with_what_was_seen(
    shares: list[tuple[float, float, float]], low: float, high: float, rng: random.Random
) -> None:
    curves = [dict(enumerate(each, 1)) for each in shares]
    low, high = sorted((low, high))
    view = Curves(curves, Scale(ACCURACY, 100))
    worse, better = final_of(view, 2, low), final_of(view, 2, high)
    for final in filter(None, (worse, better)):
        assert 0 <= final.score <= 1
        assert final.variance > 0
    if worse and better:
        assert worse.score <= better.score
    shuffled = rng.sample(curves, len(curves))
    again = final_of(Curves(shuffled, Scale(ACCURACY, 100)), 2, high)
    if better and again:
        assert again == pytest.approx(better, rel=1e-6)
