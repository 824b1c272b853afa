"""Scores of a ranking, AUROC and average precision: equal to scikit-learn's, ties included."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from skipsearch.data import load_data
from skipsearch.design import Design
from skipsearch.metric import MEAN_AVERAGE_PRECISION
from skipsearch.models import build
from skipsearch.recipe import Recipe
from skipsearch.training import Trainer, do_nothing, train_several
from skipsearch.training.bootstrap import interval_of
from skipsearch.training.criteria.classification import RankedClasses
from skipsearch.training.criteria.ranking import auroc, average_precision

CONFIDENCES = st.sampled_from([0.0, 0.25, 0.5, 0.5000001, 1.0])  # many are tied
rankings = st.integers(2, 30).flatmap(
    lambda n: st.tuples(
        st.lists(CONFIDENCES, min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
    )
)
TINY = Design(layout="conv3-bn-relu +", depths=(1,), widths=(4,), stem_width=4)
RECIPE = Recipe(epochs=2, batch_size=64, precision="float32")


@given(rankings)
def test_scores_are_those_of_scikit_learn(ranking: tuple[list[float], ...]) -> None:
    confidences, truth, weights = map(np.array, ranking)
    tensors = [torch.tensor(each)[:, None] for each in (confidences, truth)]
    found = [
        score(*tensors, torch.stack([torch.ones(len(truth)), torch.tensor(weights)]))
        for score in (auroc, average_precision)
    ]
    for row, weight in enumerate((np.ones(len(truth)), weights)):
        hits, misses = weight[truth].sum(), weight[~truth].sum()
        for score, values, defined in (
            (roc_auc_score, found[0], hits and misses),
            (average_precision_score, found[1], hits),
        ):
            expected = np.nan
            if defined:
                expected = score(truth, confidences, sample_weight=weight)
            assert values[row].item() == pytest.approx(expected, abs=1e-12, nan_ok=True)


def trained(classes: int) -> tuple[Any, Tensor, Tensor]:
    """Return the measurement of a trained network, its probabilities and the labels."""
    data = load_data("digits").judged_by("auroc")
    if classes == 2:
        images, labels = data.train.images, data.train.labels
        data = data.from_arrays(images.numpy(), (labels > 6).numpy().astype(int)).judged_by("auroc")
    trainer = Trainer(build(TINY, 1, classes), data, RECIPE)
    epochs = [trainer.run_epoch() for _ in range(2)]
    measured = trainer.measure(data.validation)
    assert measured.score == epochs[-1].validation_score
    trainer.model.eval()
    outputs = []
    with torch.no_grad():
        for start in range(0, len(data.validation), 100):
            index = torch.arange(start, min(start + 100, len(data.validation)))
            outputs.append(trainer.model(trainer._step.examples.of(data.validation, index)[0]))
    assert do_nothing(data, data.validation) == 0.5
    return measured, torch.cat(outputs).double().softmax(1), data.validation.labels


@pytest.mark.parametrize("classes", [2, 10])
def test_a_validation_score_is_that_of_scikit_learn(classes: int) -> None:
    measured, probabilities, labels = trained(classes)
    chosen = probabilities[:, 1] if classes == 2 else probabilities
    expected = roc_auc_score(labels, chosen, multi_class="ovr", average="macro")
    assert measured.score == pytest.approx(expected, abs=1e-6)
    assert list(measured.classes["auroc"].values()) == pytest.approx(
        [roc_auc_score(labels == n, probabilities[:, n]) for n in range(classes)], abs=1e-6
    )
    assert measured.figures["accuracy"] == pytest.approx(
        (probabilities.argmax(1) == labels).double().mean().item()
    )
    low, high = measured.interval
    assert low < measured.score < high
    # The interval is that of resampled images.
    rng, scores = np.random.default_rng(0), []
    for _ in range(200):
        drawn = rng.integers(len(labels), size=len(labels))
        scores.append(roc_auc_score(labels[drawn], chosen[drawn], multi_class="ovr"))
    assert np.quantile(scores, (0.025, 0.975)) == pytest.approx((low, high), abs=0.4 * (high - low))


def test_a_figure_of_each_class_has_the_name_of_its_metric() -> None:
    data = load_data("digits")
    task = dataclasses.replace(data.task, metric=MEAN_AVERAGE_PRECISION)
    criterion = RankedClasses(dataclasses.replace(data, task=task), RECIPE)
    labels = data.validation.labels
    logits = torch.randn(len(labels), 1, 10, generator=torch.Generator().manual_seed(0))
    tallies = criterion.tally(logits, labels[:, None])[:, 0]
    ((name, scores),) = criterion.figures(tallies, len(labels)).classes.items()
    probabilities = logits[:, 0].double().softmax(1)
    assert name == "mean_average_precision"
    assert list(scores.values()) == pytest.approx(
        [average_precision_score(labels == n, probabilities[:, n]) for n in range(10)]
    )


def test_the_training_score_of_an_epoch_is_that_of_all_its_images() -> None:
    data = load_data("digits").judged_by("auroc")
    seen: list[Tensor] = []
    trainer = Trainer(build(TINY, 1, 10), data, Recipe(epochs=2, batch_size=100, images=1000))
    tally = trainer._step.criterion.tally
    trainer._step.criterion.tally = lambda *args: seen.append(tally(*args)) or seen[-1]
    epoch = trainer.run_epoch()
    outputs = torch.cat([each for each in seen if len(each) == 100][:5])[:, 0].double()
    probabilities, labels = outputs[:, :-1].softmax(1), outputs[:, -1]
    assert len(labels) == 500
    assert epoch.train_score == pytest.approx(
        roc_auc_score(labels, probabilities, multi_class="ovr"), abs=1e-6
    )


def test_a_pack_has_the_scores_of_its_members() -> None:
    data = load_data("digits").judged_by("auroc")

    def trained(packed: bool) -> list[float]:
        models = [build(TINY, 1, 10, seed=seed) for seed in range(2)]
        *_, last = train_several(models, data, RECIPE, packed=packed)
        return [score for epoch in last for score in (epoch.train_score, epoch.validation_score)]

    assert trained(packed=True) == pytest.approx(trained(packed=False), abs=2e-3)


def test_resamples_without_a_class_are_left_out() -> None:
    confidences = torch.tensor([[0.1], [0.9], [0.5]])

    def interval(*truth: bool) -> tuple[float, float]:
        rows = torch.tensor(truth)[:, None]
        return interval_of(lambda times: auroc(confidences, rows, times)[:, 0].tolist(), 3)

    assert interval(False, False, True) == (0.0, 1.0)
    assert all(map(math.isnan, interval(False, True, False)))  # a perfect ranking
