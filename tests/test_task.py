"""Task and metric: the one place that says what a network is trained to do and judged by."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skipsearch.training.criterion import CRITERIA
from statsmodels.stats.proportion import proportion_confint
from torch.nn import functional as F

from skipsearch.analysis.ranking import interval
from skipsearch.analysis.ties import tied_with_leader
from skipsearch.errors import UnknownWordError
from skipsearch.surrogate.warp import Warp, half_ranks
from skipsearch.task import ACCURACY, CLASSIFICATION, TASKS, Metric, Scale

# A metric that is no share of the images, such as the signal-to-noise ratio of a picture.
DECIBELS = Metric(
    name="psnr",
    title="PSNR",
    short="PSNR",
    error="lack",
    unit="dB",
    difference_unit="dB",
    factor=1.0,
    format=".2f",
    worst=-math.inf,
    best=math.inf,
    is_share_of_images=False,
)


def test_every_task_has_a_criterion() -> None:
    assert list(CRITERIA) == list(TASKS)


@pytest.mark.parametrize("table", [TASKS, CRITERIA])
def test_an_unknown_task_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(UnknownWordError, match="task 'regression'"):
        table["regression"]


def test_scores_are_named_by_the_metric() -> None:
    assert ACCURACY.validation == "validation_accuracy"
    assert ACCURACY.train == "train_accuracy"
    assert ACCURACY.search == "search_accuracy"
    assert DECIBELS.validation == "validation_psnr"


def test_scores_are_shown_in_the_unit_of_the_metric() -> None:
    assert ACCURACY.text(0.9312) == "93.12 %"
    assert DECIBELS.text(31.234) == "31.23 dB"
    assert ACCURACY.text(None) == ""


@given(st.floats(-2, 3))
def test_a_score_is_clipped_to_what_is_possible(score: float) -> None:
    assert 0 <= ACCURACY.clip(score) <= 1
    assert DECIBELS.clip(score) == score
    assert ACCURACY.lack(ACCURACY.clip(score)) == 1 - ACCURACY.clip(score)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_an_accuracy_is_wilsons(counts: tuple[int, int]) -> None:
    right, images = counts
    expected = proportion_confint(right, images, method="wilson")
    assert Scale(ACCURACY, images).interval(right / images) == pytest.approx(expected, abs=1e-6)


def test_images_alone_leave_no_interval_of_another_metric() -> None:
    scale = Scale(DECIBELS, 100)
    assert all(map(math.isnan, scale.interval(31.0)))
    assert scale.rounding == 0.0
    low, high = interval([31.0, 31.2, 31.1], scale)  # Student's, of seeds
    assert low < 31.1 < high


def test_one_seed_of_another_metric_tells_no_designs_apart() -> None:
    assert tied_with_leader([[31.0], [20.0]], Scale(DECIBELS, 100)) == [True, True]
    many = [[31.0 + 0.01 * i for i in range(9)], [20.0 + 0.01 * i for i in range(9)]]
    assert tied_with_leader(many, Scale(DECIBELS, 100)) == [True, False]


def test_classification_is_cross_entropy_and_the_share_of_correct_images() -> None:
    criterion = CRITERIA[CLASSIFICATION.name]
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(12, 3, 5, generator=generator)  # of three networks
    target = torch.randint(5, (12, 3), generator=generator)
    losses = criterion.losses(outputs, target, label_smoothing=0.1)
    tally = criterion.no_tally(3, 5, torch.device("cpu"))
    for batch in (slice(0, 5), slice(5, 12)):
        tally += criterion.tally(outputs[batch], target[batch])
    scores = criterion.scores(tally, 12)
    for network in range(3):
        logits, labels = outputs[:, network], target[:, network]
        expected = F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
        torch.testing.assert_close(losses[:, network], expected)
        assert scores[network] == (logits.argmax(1) == labels).sum().item() / 12


@given(st.lists(st.floats(5, 60), min_size=2, max_size=20))
def test_the_surrogate_models_unbounded_scores_as_they_are(scores: list[float]) -> None:
    scale = Scale(DECIBELS, 100)
    warp = Warp.of(scores, scale)
    values = warp.values(scores)
    assert warp.scores(values) == pytest.approx(scores)
    assert (np.argsort(values, kind="stable") == np.argsort(scores, kind="stable")).all()
    assert not warp.noise(scores).any()
    assert np.isfinite(half_ranks(scores, scale)).all()
