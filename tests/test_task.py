"""Task and metric: the one place that says what a network is trained to do and judged by."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint
from torch.nn import functional as F

from skipsearch.analysis.ranking import interval
from skipsearch.analysis.ties import tied_with_leader
from skipsearch.data import load_data
from skipsearch.errors import DesignError, RecipeError, UnknownWordError
from skipsearch.metric import (
    ACCURACY,
    AUROC,
    BALANCED_ACCURACY,
    FIGURES,
    MACRO_F1,
    MAE,
    MEAN_AVERAGE_PRECISION,
    MEAN_IOU,
    R2,
    RMSE,
    Metric,
    Scale,
)
from skipsearch.metric import PSNR as DECIBELS
from skipsearch.recipe import Recipe
from skipsearch.surrogate.warp import Warp, half_ranks
from skipsearch.task import (
    CLASSIFICATION,
    DENOISING,
    MULTI_LABEL,
    SEGMENTATION,
    TASKS,
    Baseline,
    Task,
    all_metrics,
)
from skipsearch.training.criteria import CRITERIA


def test_every_task_has_a_criterion() -> None:
    assert list(CRITERIA) == list(TASKS)


@pytest.mark.parametrize("table", [TASKS, CRITERIA])
def test_an_unknown_task_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(UnknownWordError, match="task 'colouring'"):
        table["colouring"]


def test_scores_are_named_by_the_metric() -> None:
    assert ACCURACY.validation == "validation_accuracy"
    assert ACCURACY.train == "train_accuracy"
    assert ACCURACY.search == "search_accuracy"
    assert MEAN_IOU.search == "search_mean_iou"
    assert DECIBELS.validation == "validation_psnr"


def test_scores_are_shown_in_the_unit_of_the_metric() -> None:
    assert ACCURACY.text(0.9312) == "93.12 %"
    assert DECIBELS.text(31.234) == "31.23 dB"
    assert ACCURACY.text(None) == ""
    assert ACCURACY.cell(0.9312) == "93.12%"
    assert DECIBELS.cell(31.234) == "31.23"
    assert ACCURACY.signed_cell(0.012) == "+1.20"
    assert ACCURACY.span((0.5, 0.75)) == "50.00 to 75.00 %"
    assert DECIBELS.span((math.nan, math.nan)) == "unknown"


@pytest.mark.parametrize("metric", [R2, MACRO_F1, AUROC, MEAN_AVERAGE_PRECISION])
def test_shares_beside_accuracies_are_from_0_to_1_everywhere(metric: Metric) -> None:
    assert metric.text(0.34125) == metric.cell(0.34125) == metric.number(0.34125) == "0.3412"
    assert metric.span((0.1, 0.25)) == "0.1000 to 0.2500"
    assert metric.signed_cell(0.01) == "+0.0100"
    assert metric.with_unit(metric.difference(0.0123)) == "0.012"
    assert metric.named("validation score") == "validation score"
    assert metric.differences_in("validation score") == "validation score"
    assert metric.in_unit(0.5) == 0.5


@pytest.mark.parametrize("metric", [ACCURACY, BALANCED_ACCURACY, MEAN_IOU])
def test_accuracies_and_overlaps_are_in_percent_everywhere(metric: Metric) -> None:
    assert metric.text(0.34125) == "34.12 %"
    assert metric.cell(0.34125) == "34.12%"
    assert metric.with_unit(metric.difference(0.0123)) == "1.2 points"
    assert metric.named("validation score") == "validation score (%)"
    assert metric.differences_in("validation score") == "points of validation score"
    assert metric.in_unit(0.5) == 50.0
    assert metric.in_unit(np.array([0.0, 0.25])).tolist() == [0.0, 25.0]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.5, "50.00 %"),
        ("iou", 0.5, "50.00 %"),
        ("macro_f1", 0.5, "0.5000"),
        ("ssim", 0.5, "0.5000"),
        ("r2", 0.0, "0.0000"),
        ("mae", 0.0001234, "0.0001234 target units"),
        ("rmse", 123456.7, "123457 target units"),
    ],
)
def test_figures_of_a_card_are_shown_like_the_metrics(name: str, value: float, text: str) -> None:
    assert FIGURES[name].text(value) == text


@pytest.mark.parametrize("metric", [ACCURACY, MACRO_F1, AUROC, R2, RMSE, MAE])
def test_a_figure_that_is_a_metric_is_shown_as_itself(metric: Metric) -> None:
    assert FIGURES[metric.name] is metric


def test_differences_have_the_unit_of_the_metric() -> None:
    assert ACCURACY.difference(0.0123) == "1.2"
    assert MEAN_IOU.difference(0.0123, "+") == "+1.2"
    assert DECIBELS.difference(0.1234, "+") == "+0.12"


@pytest.mark.parametrize("metric", all_metrics(), ids=lambda metric: metric.name)
def test_scores_have_two_ends_and_a_margin_between_them(metric: Metric) -> None:
    # The hypervolume, the axes of figures and the model of the space need them.
    scale = Scale(metric, 100, baseline=-2.5)
    assert -math.inf < scale.floor < metric.best < math.inf
    assert scale.floor == metric.worst or metric.worst == -math.inf
    assert 0 < scale.margin < metric.best - scale.floor


@given(st.floats(-2, 3))
def test_a_score_is_clipped_to_what_is_possible(score: float) -> None:
    assert 0 <= ACCURACY.clip(score) <= 1
    assert DECIBELS.clip(score) == max(0, score)
    assert math.isnan(ACCURACY.clip(math.nan))
    assert ACCURACY.lack(ACCURACY.clip(score)) == 1 - ACCURACY.clip(score)


@given(st.floats(1e-10, 1))
def test_the_error_of_a_score_in_decibels_is_that_of_the_squares(mse: float) -> None:
    assert 10 ** (DECIBELS.lack(-10 * math.log10(mse)) / 10) == pytest.approx(mse)


@pytest.mark.parametrize(
    ("task", "field", "users"),
    [
        (CLASSIFICATION, "loss", "segmentation"),
        (DENOISING, "class_weights", "classification, segmentation, multi-label"),
        (DENOISING, "loss", "segmentation"),
        (DENOISING, "label_smoothing", "classification, segmentation"),
    ],
)
def test_a_field_of_the_recipe_for_other_tasks_is_refused(
    task: Task, field: str, users: str
) -> None:
    message = f"recipe.{field}: is for {users}, and the task is {task.name}"
    with pytest.raises(RecipeError, match=message):
        task.check_recipe(["peak_lr", field])


def test_fields_of_all_tasks_and_of_its_own_are_accepted() -> None:
    SEGMENTATION.check_recipe(
        ["peak_lr", "loss", "class_weights", "label_smoothing"], ["none", "median-frequency"]
    )
    words = ["none", "balanced", "median-frequency"]  # the last is that of earlier versions
    CLASSIFICATION.check_recipe(["crop", "label_smoothing", "class_weights"], words)
    MULTI_LABEL.check_recipe(["class_weights"], words)
    DENOISING.check_recipe(["peak_lr"], ["none"])


def test_class_weights_have_the_word_for_what_they_are() -> None:
    message = r"^recipe\.class_weights: 'balanced' is not one of none, median-frequency \(segm"
    with pytest.raises(RecipeError, match=message):
        SEGMENTATION.check_recipe(["class_weights"], ["balanced"])
    for task in (CLASSIFICATION, MULTI_LABEL):
        assert task.weights_word("median-frequency") == "balanced"
        assert task.weights_word("balanced") == "balanced"
        assert task.weights_word("none") == "none"
    assert SEGMENTATION.weights_word("median-frequency") == "median-frequency"
    assert DENOISING.weights_word("none") == "none"


def test_a_baseline_says_what_it_is() -> None:
    assert Baseline(DENOISING, 20.17).sentence("test") == (
        "To beat: the noisy image itself, with test PSNR 20.17 dB."
    )


def test_a_network_that_learnt_nothing_is_as_good_as_guessing_or_the_baseline() -> None:
    assert Scale(ACCURACY, 100, baseline=0.3).guess(classes=4) == 0.25
    assert Scale(DECIBELS, 100, baseline=20.2).guess(classes=3) == 20.2
    assert Scale(DECIBELS, 100).guess(classes=3) == 0.0


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
    criterion = CRITERIA[CLASSIFICATION.name](load_data("digits"), Recipe())
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(12, 3, 10, generator=generator)  # of three networks
    target = torch.randint(10, (12, 3), generator=generator)
    losses = criterion.losses(outputs, target, label_smoothing=0.1)
    tally = criterion.no_tally(3)
    for batch in (slice(0, 5), slice(5, 12)):
        tally += criterion.tally(outputs[batch], target[batch]).sum(0)
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
    assert (np.diff(values[np.argsort(scores)]) >= 0).all()
    assert not warp.noise(scores).any()
    assert np.isfinite(half_ranks(scores, scale)).all()


@pytest.mark.parametrize(
    ("task", "head", "words"),
    [
        (
            DENOISING,
            "mean",
            "denoising, which denoise sets, needs values for each pixel (map",
        ),
        (SEGMENTATION, "mean", "segmentation, the task of the data, needs values for each pixel"),
        (CLASSIFICATION, "map", "classification, the task of the data, needs one value for the wh"),
    ],
)
def test_a_head_of_another_kind_is_refused_with_what_sets_the_task(
    task: Task, head: str, words: str
) -> None:
    with pytest.raises(DesignError) as caught:
        task.check_head(head)
    assert words in str(caught.value)
