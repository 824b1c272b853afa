"""Metrics and class weights for unbalanced classes: equal to scikit-learn's, and the whole way."""

from __future__ import annotations

import json
import math
import shlex
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dense_data import denoising, segmentation
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional as F
from vector_data import multi_label, regression

import skipsearch as ss
from skipsearch.analysis.command import search_command
from skipsearch.cli.parser import read_arguments
from skipsearch.data import Data, load_data
from skipsearch.data.summaries import balance
from skipsearch.errors import RunError
from skipsearch.metric import BALANCED_ACCURACY, FIGURES, MACRO_F1, Metric
from skipsearch.recipe import Recipe
from skipsearch.run import Run
from skipsearch.task import CLASSIFICATION, SEGMENTATION, all_metrics
from skipsearch.training import do_nothing
from skipsearch.training.bootstrap import bootstrap
from skipsearch.training.criteria import CRITERIA
from skipsearch.training.criteria.classification import (
    ClassificationCriterion,
    PerClassCriterion,
    classification_criterion,
)
from skipsearch.training.criteria.per_class import balanced_weights

CLASSES = 4
METRICS = [BALANCED_ACCURACY, MACRO_F1]


def unbalanced(images: int = 300, share: int = 40) -> Data:
    """Images of two classes, of which one has 40 times as many as the other."""
    rng = np.random.default_rng(0)
    labels = (np.arange(images) % (share + 1) == 0).astype(int)
    pixels = rng.integers(0, 100, (images, 8, 8, 1)) + 100 * labels[:, None, None, None]
    return Data.from_arrays(pixels.astype("uint8"), labels, class_names=["many", "few"])


def scored(metric: str, truth: Tensor, found: Tensor) -> PerClassCriterion:
    criterion = classification_criterion(of_classes(truth).judged_by(metric), Recipe())
    assert isinstance(criterion, PerClassCriterion)
    return criterion


def of_classes(labels: Tensor) -> Data:
    data = load_data("digits")
    train = replace(data.train, images=data.train.images[: len(labels)], labels=labels)
    return replace(data, train=train, class_names=tuple("abcd"))


pairs = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, CLASSES - 1), min_size=n, max_size=n)] * 2)
)


@given(pairs)
def test_scores_are_those_of_scikit_learn(labels: tuple[list[int], list[int]]) -> None:
    truth, found = map(torch.tensor, labels)
    outputs = F.one_hot(found, CLASSES).float()[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are only found, or undefined
        balanced = balanced_accuracy_score(truth, found)
        _, _, f1, _ = precision_recall_fscore_support(truth, found, average="macro")
        precision, recall, _, _ = precision_recall_fscore_support(
            truth, found, labels=range(CLASSES), zero_division=np.nan
        )
    for metric, expected in ((BALANCED_ACCURACY, balanced), (MACRO_F1, f1)):
        criterion = scored(metric.name, truth, found)
        tally = criterion.no_tally(1)
        for start in range(0, len(truth), 7):
            part = slice(start, start + 7)
            tally += criterion.tally(outputs[part], truth[part, None]).sum(0)
        assert criterion.scores(tally, len(truth)) == [pytest.approx(expected)]
        figures, of_classes = criterion.figures(tally[0], len(truth))
        assert figures["accuracy"] == pytest.approx((truth == found).double().mean().item())
        assert list(of_classes["recall"].values()) == pytest.approx(recall, nan_ok=True)
        assert list(of_classes["precision"].values()) == pytest.approx(precision, nan_ok=True)


@pytest.mark.parametrize(
    "data",
    [unbalanced(), segmentation(), denoising(), multi_label(), regression()],
    ids=lambda data: data.task.name,
)
def test_every_figure_is_shown_like_a_metric(data: Data) -> None:
    task = data.task
    for metric in (task.metric, *task.other_metrics):
        judged = data.judged_by(metric.name)
        criterion = CRITERIA[task.name](judged, Recipe())
        split = judged.validation
        keys = torch.arange(len(split))
        inputs, target = criterion.pose(split.images / 255, split.labels, keys)
        outputs = criterion.nothing(inputs)
        tallies = criterion.tally(outputs[:, None], target[:, None], complete=True)[:, 0]
        whole = tallies if criterion.collects else tallies.sum(0)
        figures = criterion.figures(whole, len(split))
        assert {*figures.whole, *figures.classes} <= set(FIGURES)


def test_class_weights_are_those_of_scikit_learn_and_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (60,), generator=generator) * torch.randint(
        2, (60,), generator=generator
    )
    weights = balanced_weights(labels, CLASSES)
    expected = compute_class_weight("balanced", classes=np.arange(CLASSES), y=labels.numpy())
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)
    assert balanced_weights(torch.tensor([0, 2, 2]), 3)[1] == 1  # of a class without an image

    recipe = Recipe(class_weights="balanced")
    criterion = ClassificationCriterion(of_classes(labels), recipe)
    outputs = torch.randn(60, 2, CLASSES, generator=generator)  # of two networks
    target = torch.stack([labels, labels.flip(0)], dim=1)
    losses = criterion.losses(outputs, target, label_smoothing=0.1)
    for network in range(2):
        # Of the training labels themselves it is the weighted mean of PyTorch.
        torch.testing.assert_close(
            losses[:, network].mean(),
            F.cross_entropy(outputs[:, network], target[:, network], weights, label_smoothing=0.1),
        )
    # Earlier versions had another word for the same weights.
    earlier = ClassificationCriterion(of_classes(labels), Recipe(class_weights="median-frequency"))
    torch.testing.assert_close(earlier.losses(outputs, target, label_smoothing=0.1), losses)
    # The loss of a batch is that of its parts, however memory divides it.
    parts = [criterion.losses(outputs[i : i + 7], target[i : i + 7], 0.1) for i in range(0, 60, 7)]
    torch.testing.assert_close(torch.cat(parts), losses)


def test_the_baseline_of_every_class_alike_is_that_of_guessing() -> None:
    data = unbalanced()
    assert do_nothing(data, data.validation) > 0.95
    assert do_nothing(data.judged_by("balanced_accuracy"), data.validation) == 0.5
    assert do_nothing(data.judged_by("macro_f1"), data.validation) < 0.5


def test_resamples_without_a_class_have_a_score() -> None:
    criterion = scored("balanced_accuracy", torch.tensor([0, 0, 0, 1]), torch.tensor([0]))
    counts = criterion.tally(
        F.one_hot(torch.tensor([0, 0, 1, 1]), CLASSES).float()[:, None],
        torch.tensor([0, 0, 0, 1])[:, None],
    )
    low, high = bootstrap(counts[:, 0], lambda sums: criterion.scores(sums, 4))
    assert 0 <= low < 5 / 6 < high <= 1


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_task_is_judged_by_its_own_metrics(metric: Metric) -> None:
    task = CLASSIFICATION.judged_by(metric.name)
    assert task.metric == metric
    assert task.judged_by("accuracy").metric == CLASSIFICATION.metric
    assert task.judged_by(None) == task
    assert metric in all_metrics()
    with pytest.raises(RunError, match=r"metric: 'mean_iou' is not one of accuracy, balanced_acc"):
        CLASSIFICATION.judged_by("mean_iou")
    with pytest.raises(RunError, match=rf"metric: '{metric.name}' is not one of mean_iou"):
        SEGMENTATION.judged_by(metric.name)


def test_the_metric_changes_no_fingerprint() -> None:
    data = load_data("digits")
    assert data.judged_by("macro_f1").fingerprint == data.fingerprint


# --- the whole way -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((40, 40), ""),
        ((39, 40), ""),
        ((20, 40), "unbalanced, 20 images of class 'a' to 40 of class 'b'"),
        ((0, 40), "unbalanced, 0 images of class 'a' to 40 of class 'b'"),
    ],
)
def test_classes_of_similar_size_are_balanced(counts: tuple[int, int], words: str) -> None:
    labels = torch.arange(2).repeat_interleave(torch.tensor(counts))
    assert balance(labels, ("a", "b")) == words


@pytest.mark.usefixtures("ray")
def test_an_unbalanced_set_goes_the_whole_way(tmp_path: Path) -> None:
    data, out = unbalanced(), tmp_path / "run"
    space = ss.Space.from_dict(
        {
            "name": "tiny",
            "base": {"widths": [4, 8], "depths": [1, 1]},
            # The word of earlier versions for what is balanced now.
            "recipe": {"batch_size": 32, "class_weights": "median-frequency"},
            "axes": {"layout": ["conv3-bn-relu", "bn-relu-conv3 +"]},
        }
    )
    how = {"trials": 4, "seeds": 2, "epochs": 2, "out": out}
    run = ss.search(space, data, metric="balanced_accuracy", **how)
    assert run.config.objectives == ("validation_balanced_accuracy",)
    assert run.config.task.metric == BALANCED_ACCURACY
    assert run.config.data.baseline == 0.5
    table = run.rank()
    assert (table.n == 2).all()
    assert table.low.notna().all()  # of seeds
    assert "balanced accuracy" in run.report().read_text()
    with pytest.raises(
        RunError, match=r"metric is 'balanced_accuracy' there, 'accuracy' was asked for"
    ):
        ss.search(space, data, metric="accuracy", **how)
    resumed = ss.search(space, data, **how)  # what is not given is that of the run
    assert resumed.config.task.metric == BALANCED_ACCURACY
    assert len(resumed.trials()) == 4

    run = Run.open(out)
    assert run.load_data(data=data).task.metric == BALANCED_ACCURACY
    exported = ss.export(run, "best", out=tmp_path / "winner", data=data)
    assert data.test is not None
    score, (low, high) = exported.test.score, exported.test.interval
    assert low <= score <= high or (score == 1 and math.isnan(low))  # a perfect one has none
    card = (exported.path / "card.md").read_text()
    assert "balanced accuracy" in card
    assert "recall" in card
    assert "balanced" in card.split("class_weights")[1].splitlines()[0]
    assert "median-frequency" not in card
    values = json.loads((exported.path / "card.json").read_text())
    assert values["training"]["recipe"]["class_weights"] == "balanced"
    assert values["metric"] == "balanced_accuracy"
    assert set(values["figures"]["test"]["classes"]) == {"recall", "precision", "f1"}


@pytest.mark.usefixtures("ray")
def test_the_command_of_a_search_names_its_metric(tmp_path: Path) -> None:
    space = ss.Space.from_dict(
        {
            "name": "tiny",
            "base": {"widths": [4], "depths": [1]},
            "axes": {"layout": ["conv3-bn-relu", "bn-relu-conv3 +"]},
        }
    )
    run = ss.search(space, metric="macro_f1", trials=1, epochs=1, out=tmp_path / "run")
    _, *words = shlex.split(search_command(run.config, run.path))
    options = read_arguments(words)
    assert (options.metric, options.objectives) == ("macro_f1", "validation_macro_f1")
    # The data are loaded again with the metric of the search.
    assert run.load_data().task.metric == MACRO_F1
