"""Classification: cross-entropy, and accuracy, a score of each class or of a ranking."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.data import Data
from skipsearch.recipe import Recipe
from skipsearch.training.criteria.criterion import Criterion, Figures, Summed
from skipsearch.training.criteria.per_class import (
    CLASS_SCORES,
    RIGHT,
    balanced_weights,
    class_counts,
    f1_scores,
    precisions,
    recalls,
)
from skipsearch.training.criteria.ranked import Ranked
from skipsearch.training.criteria.ranking import RANKINGS, Score


def classification_criterion(data: Data, recipe: Recipe) -> Criterion:
    """Return the criterion of the data's metric.

    Args:
        data: Data set.
        recipe: Recipe of the training.
    """
    if data.task.metric.name in RANKINGS:
        return RankedClasses(data, recipe)
    if data.task.metric.name in CLASS_SCORES:
        return PerClassCriterion(data, recipe)
    return ClassificationCriterion(data, recipe)


class ClassificationCriterion(Summed):
    """Criterion of classification, judged by the accuracy; see ``Criterion``.

    Args:
        data: Data set.
        recipe: Recipe of the training, for its class weights.
    """

    def __init__(self, data: Data, recipe: Recipe) -> None:
        self._labels, self._classes = data.train.class_labels, data.classes
        self._weights = None
        if recipe.class_weights != "none":
            self._weights = balanced_weights(self._labels, self._classes)

    def pose(self, images: Tensor, labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and labels as they are."""
        return images, labels

    def losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy (n, networks) of logits (n, networks, classes)."""
        losses = F.cross_entropy(
            outputs.flatten(0, 1),
            target.flatten(),
            self._weights,
            reduction="none",
            label_smoothing=label_smoothing,
        )
        return losses.view(target.shape)

    def no_tally(self, networks: int) -> Tensor:
        """Return zeros (networks,)."""
        return torch.zeros(networks, device=self._labels.device)

    def tally(self, outputs: Tensor, target: Tensor, complete: bool = False) -> Tensor:
        """Return whether each image is classified correctly (n, networks)."""
        return outputs.argmax(2) == target

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the accuracies."""
        return [correct / images for correct in tally.tolist()]

    def figures(self, tally: Tensor, images: int) -> Figures:
        """Return no further figures."""
        return Figures()

    def nothing(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes) of the most frequent class in training."""
        counts = self._labels.bincount(minlength=self._classes)
        return F.one_hot(counts.argmax(), self._classes).float().expand(len(inputs), -1)


class PerClassCriterion(ClassificationCriterion):
    """Criterion of classification, judged by the mean of a score over the classes.

    Args:
        data: Data set, whose metric is one of ``CLASS_SCORES``.
        recipe: Recipe of the training, for its class weights.
    """

    def __init__(self, data: Data, recipe: Recipe) -> None:
        super().__init__(data, recipe)
        self._names, self._score = data.class_names, CLASS_SCORES[data.task.metric.name]

    def no_tally(self, networks: int) -> Tensor:
        """Return zeros (networks, 3, classes)."""
        return torch.zeros(
            networks, 3, self._classes, dtype=torch.int64, device=self._labels.device
        )

    def tally(self, outputs: Tensor, target: Tensor, complete: bool = False) -> Tensor:
        """Return the counts of each image (n, networks, 3, classes); see ``class_counts``."""
        return class_counts(outputs.argmax(2), target, self._classes)

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the mean over the classes for which the score is defined."""
        scores: list[float] = self._score(tally).nanmean(-1).tolist()
        return scores

    def figures(self, tally: Tensor, images: int) -> Figures:
        """Return the accuracy, and recall, precision and F1 score of each class."""
        each = {"recall": recalls, "precision": precisions, "f1": f1_scores}
        return Figures(
            {"accuracy": tally[RIGHT].sum().item() / images},
            {
                label: dict(zip(self._names, score(tally).tolist(), strict=True))
                for label, score in each.items()
            },
        )


class RankedClasses(Ranked, ClassificationCriterion):
    """Criterion of classification, judged by a ranking of all images for each class.

    Args:
        data: Data set, whose metric is one of ``RANKINGS``.
        recipe: Recipe of the training, for its class weights.
    """

    def __init__(self, data: Data, recipe: Recipe) -> None:
        super().__init__(data, recipe)
        self._names = data.class_names
        self._metric = data.task.metric.name
        self.ranking: Score = RANKINGS[self._metric]

    def no_tally(self, networks: int) -> Tensor:
        """Return zeros (networks, classes + 1)."""
        return torch.zeros(networks, self._classes + 1, device=self._labels.device)

    def tally(self, outputs: Tensor, target: Tensor, complete: bool = False) -> Tensor:
        """Return the logits and the class of each image (n, networks, classes + 1)."""
        return torch.cat([outputs, target[..., None].to(outputs.dtype)], dim=2)

    def ranked(self, tallies: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability of each class in float64; of two classes that of the second."""
        probabilities, truth = self._of_classes(tallies)
        first = int(self._classes == 2)
        return probabilities[:, first:], truth[:, first:]

    def _of_classes(self, tallies: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability (images, classes) of each class, and whether it is true."""
        logits, labels = tallies[:, :-1].double(), tallies[:, -1:]
        return logits.softmax(1), labels == torch.arange(self._classes, device=tallies.device)

    def figures(self, tally: Tensor, images: int) -> Figures:
        """Return the accuracy, and the score of each class against the rest."""
        probabilities, truth = self._of_classes(tally)
        right = truth.gather(1, probabilities.argmax(1, keepdim=True)).sum()
        once = torch.ones(1, images, dtype=torch.float64, device=tally.device)
        scores = self.ranking(probabilities, truth, once)[0].tolist()
        return Figures(
            {"accuracy": right.item() / images},
            {self._metric: dict(zip(self._names, scores, strict=True))},
        )
